#include "control/ctl/client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <vector>

#include "control/api/protocol.h"

namespace sluice::ctl {
namespace {

class Socket {
 public:
  Socket() : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

Error failure(const std::string& what) {
  const int code = errno;
  if (code == EAGAIN) return Error{what + ": no answer in time", code};
  return Error{what + ": " + std::generic_category().message(code), code};
}

Error cannot_connect(const std::string& path) {
  Error error = failure("cannot reach the gateway at " + path);
  if (error.code == ENOENT || error.code == ECONNREFUSED) error.what += "; is sluiced running?";
  if (error.code == EACCES) error.what += "; root may";
  return error;
}

Result<void> connect_to(const Socket& socket, const std::string& path, std::chrono::seconds time_limit) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Error{"socket path " + path + " is longer than 107 characters"};
  path.copy(address.sun_path, path.size());
  const timeval limit{.tv_sec = time_limit.count(), .tv_usec = 0};
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return cannot_connect(path);
  return {};
}

Result<void> send_all(const Socket& socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return failure("cannot send to the gateway");
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return {};
}

Result<std::string> receive_line(const Socket& socket) {
  std::string line;
  std::vector<char> chunk(size_t{64} * 1024);
  while (line.size() <= api::kMaxReply) {
    const ssize_t length = recv(socket.get(), chunk.data(), chunk.size(), 0);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return failure("cannot read the gateway's reply");
    if (length == 0) return Error{"the gateway closed the connection without a full reply"};
    const std::string_view received(chunk.data(), static_cast<size_t>(length));
    const size_t newline = received.find('\n');
    line.append(received.substr(0, newline));
    if (newline != std::string_view::npos) return line;
  }
  return Error{"the gateway's reply is too long"};
}

std::vector<std::string> gateways_in(const std::string& run_directory) {
  std::vector<std::string> names;
  std::error_code ignored;  // a directory that is missing has no sockets
  for (const auto& entry : std::filesystem::directory_iterator(run_directory, ignored))
    if (entry.is_socket(ignored) && entry.path().extension() == api::kSocketSuffix)
      names.push_back(entry.path().stem());
  std::ranges::sort(names);
  return names;
}

}  // namespace

Result<std::string> find_socket(const std::string& run_directory, std::string_view gateway, std::string_view tunnel) {
  const auto path_of = [&](std::string_view name) {
    return run_directory + "/" + std::string(name) + std::string(api::kSocketSuffix);
  };
  if (!gateway.empty()) return path_of(gateway);
  const std::vector<std::string> names = gateways_in(run_directory);
  if (names.size() == 1) return path_of(names.front());
  if (std::ranges::find(names, tunnel) != names.end()) return path_of(tunnel);
  if (names.empty())
    return Error{"no gateway is running: no socket in " + run_directory + "; say --socket PATH if it is elsewhere"};
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return Error{"several gateways are running; choose by --name: " + list};
}

Result<std::string> query_gateway(const std::string& socket_path, std::string_view line,
                                  std::chrono::seconds time_limit) {
  const Socket socket;
  if (socket.get() < 0) return failure("cannot make a socket");
  if (const auto connected = connect_to(socket, socket_path, time_limit); !connected) return connected.error();
  if (const auto sent = send_all(socket, std::string(line) + "\n"); !sent) return sent.error();
  return receive_line(socket);
}

}  // namespace sluice::ctl
