#include "control/loop/unix_server.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
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

// Non-blocking: a listener whose queue of connections is full is alive, too.
bool somebody_listens(const sockaddr_un& address) {
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const bool connected = connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  const bool nobody = !connected && (errno == ECONNREFUSED || errno == ENOENT);
  close(probe);
  return !nobody;
}

// Only what a dead process left behind is removed; connect() refuses for a file of another kind just the same.
Result<void> remove_stale(const std::string& path, const sockaddr_un& address) {
  struct stat file;
  if (lstat(path.c_str(), &file) == 0 && !S_ISSOCK(file.st_mode))
    return Error{path + ": exists and is not a socket: remove it, or choose another path", EEXIST};
  if (somebody_listens(address)) return Error{path + ": in use by another process: stop it first", EADDRINUSE};
  unlink(path.c_str());
  return {};
}

}  // namespace

Result<std::unique_ptr<UnixServer>> UnixServer::create(EventLoop& loop, const std::string& path, Factory factory,
                                                       BeforeReply before_reply) {
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
    if (auto removed = remove_stale(path, address); !removed) {
      close(fd);
      return removed.error();
    }
    bound = bind_path(fd, address);
  }
  if (!bound || listen(fd, 128) != 0) {
    const int error = errno;
    close(fd);
    return error_at(path, "cannot listen", error);
  }
  return std::unique_ptr<UnixServer>(new UnixServer(loop, path, fd, std::move(factory), std::move(before_reply)));
}

Result<std::unique_ptr<UnixServer>> UnixServer::adopt(EventLoop& loop, const std::string& path, int fd, Factory factory,
                                                      BeforeReply before_reply) {
  int listening = 0;
  socklen_t size = sizeof listening;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0) return error_at(path, "inherited", errno);
  if (listening == 0) return error_at(path, "inherited descriptor does not listen", EINVAL);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  return std::unique_ptr<UnixServer>(new UnixServer(loop, path, fd, std::move(factory), std::move(before_reply)));
}

UnixServer::UnixServer(EventLoop& loop, std::string path, int fd, Factory factory, BeforeReply before_reply)
    : loop_(loop),
      path_(std::move(path)),
      fd_(fd),
      factory_(std::move(factory)),
      before_reply_(std::move(before_reply)) {
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
  clients_.push_front({fd, factory_(), {}, {}});
  const auto client = clients_.begin();
  loop_.add(fd, EPOLLIN, [this, client](uint32_t) { on_ready(client); });
}

// One step for one client. Reads only when everything read before has been answered and the answer was taken; while
// there is something to do, being writable is what calls this again. So one client can neither fill our memory with
// replies that it does not read nor hold up the others with a thousand requests at once.
void UnixServer::on_ready(Clients::iterator client) {
  bool open = true;
  if (client->output.empty() && client->input.empty()) open = read_some(*client);
  if (open && client->output.empty()) converse(*client);
  if (open && !client->output.empty()) open = write_some(*client);
  if (!open || (client->closing && client->output.empty())) return close_client(client);
  loop_.modify(client->fd, client->output.empty() && client->input.empty() ? EPOLLIN : EPOLLOUT);
}

bool UnixServer::read_some(Client& client) {
  client.input.resize(kReadChunk);
  const ssize_t n = read(client.fd, client.input.data(), client.input.size());
  const int error = errno;
  client.input.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return n > 0 || (n < 0 && (error == EAGAIN || error == EINTR));
}

// Line by line, until there is a reply to write.
void UnixServer::converse(Client& client) {
  while (client.output.empty() && !client.closing && client.fed < client.input.size()) {
    const std::string_view rest = std::string_view(client.input).substr(client.fed);
    const std::string_view line = rest.substr(0, rest.find('\n'));
    const std::string_view piece = rest.substr(0, std::min(line.size() + 1, rest.size()));
    client.fed += piece.size();
    client.closing = !client.conversation->feed(piece, client.output);
  }
  if (!client.output.empty()) before_reply_();
  if (client.fed < client.input.size() && !client.closing) return;
  wipe(std::as_writable_bytes(std::span(client.input)));  // keys may pass here
  client.input.clear();
  client.fed = 0;
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
  wipe(std::as_writable_bytes(std::span(client->input)));
  wipe(std::as_writable_bytes(std::span(client->output)));
  clients_.erase(client);
}

}  // namespace sluice
