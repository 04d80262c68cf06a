#include "control/loop/unix_server.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <span>

#include "dataplane/base/secret.h"

namespace sluice {
namespace {

constexpr size_t kReadChunk = 64 * 1024;

Error error_at(const std::string& path, const std::string& what, int code) {
  return Error{path + ": " + what + ": " + std::strerror(code), code};
}

bool bind_path(int fd, const sockaddr_un& address) {
  const mode_t before = umask(0177);  // the file is born 0600
  const int outcome = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int error = errno;
  umask(before);
  errno = error;
  return outcome == 0;
}

bool somebody_listens(const sockaddr_un& address) {
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool connected = connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  const bool refused = !connected && errno == ECONNREFUSED;
  close(probe);
  return !refused;
}

}  // namespace

Result<std::unique_ptr<UnixServer>> UnixServer::create(EventLoop& loop, const std::string& path, Factory factory) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Error{path + ": too long for a Unix socket's path", ENAMETOOLONG};
  path.copy(address.sun_path, path.size());
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);

  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return error_at(path, "socket", errno);
  bool bound = bind_path(fd, address);
  if (!bound && errno == EADDRINUSE) {
    if (somebody_listens(address)) {
      close(fd);
      return Error{path + ": in use by another process: stop it first", EADDRINUSE};
    }
    unlink(path.c_str());
    bound = bind_path(fd, address);
  }
  if (!bound || listen(fd, 128) != 0) {
    const int error = errno;
    close(fd);
    return error_at(path, "cannot listen", error);
  }
  return std::unique_ptr<UnixServer>(new UnixServer(loop, path, fd, std::move(factory)));
}

UnixServer::UnixServer(EventLoop& loop, std::string path, int fd, Factory factory)
    : loop_(loop), path_(std::move(path)), fd_(fd), factory_(std::move(factory)) {
  loop_.add(fd_, EPOLLIN, [this](uint32_t) { accept_client(); });
}

UnixServer::~UnixServer() {
  while (!clients_.empty()) close_client(clients_.begin());
  loop_.remove(fd_);
  close(fd_);
  unlink(path_.c_str());
}

void UnixServer::accept_client() {
  const int fd = accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  if (clients_.size() >= kMaxClients) {
    close(fd);
    return;
  }
  clients_.push_front({fd, factory_(), {}});
  const auto client = clients_.begin();
  loop_.add(fd, EPOLLIN, [this, client](uint32_t) { on_ready(client); });
}

// Reads only while there is nothing left to write: a client that does not take its replies is not listened to either.
void UnixServer::on_ready(Clients::iterator client) {
  bool open = true;
  if (client->output.empty()) open = read_some(*client);
  if (open && !client->output.empty()) open = write_some(*client);
  if (!open || (client->closing && client->output.empty())) return close_client(client);
  loop_.modify(client->fd, client->output.empty() ? EPOLLIN : EPOLLOUT);
}

bool UnixServer::read_some(Client& client) {
  std::array<char, kReadChunk> chunk;
  const ssize_t n = read(client.fd, chunk.data(), chunk.size());
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n == 0) return false;
  client.closing = !client.conversation->feed({chunk.data(), static_cast<size_t>(n)}, client.output);
  wipe(std::as_writable_bytes(std::span(chunk)));  // keys may pass here
  return true;
}

bool UnixServer::write_some(Client& client) {
  const ssize_t n =
      send(client.fd, client.output.data() + client.written, client.output.size() - client.written, MSG_NOSIGNAL);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  client.written += static_cast<size_t>(n);
  if (client.written < client.output.size()) return true;
  wipe(std::as_writable_bytes(std::span(client.output)));
  client.output.clear();
  client.written = 0;
  return true;
}

void UnixServer::close_client(Clients::iterator client) {
  loop_.remove(client->fd);
  close(client->fd);
  wipe(std::as_writable_bytes(std::span(client->output)));
  clients_.erase(client);
}

}  // namespace sluice
