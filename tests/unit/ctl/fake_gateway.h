// A gateway that has one answer: listens on a Unix socket, takes one request line, sends what it was told to, hangs up.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>
#include <thread>

namespace sluice::ctl {

class FakeGateway {
 public:
  FakeGateway(const std::string& path, std::string reply)
      : listener_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)), reply_(std::move(reply)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener_, 1), 0);
    thread_ = std::thread([this] { serve(); });
  }
  FakeGateway(const FakeGateway&) = delete;
  FakeGateway& operator=(const FakeGateway&) = delete;
  ~FakeGateway() { stop(); }

  // What the client asked, once it is done.
  std::string request() {
    stop();
    return request_;
  }

 private:
  void serve() {
    const int client = accept(listener_, nullptr, nullptr);
    if (client < 0) return;  // nobody came before stop()
    char byte;
    while (recv(client, &byte, 1, 0) == 1 && byte != '\n') request_ += byte;
    for (size_t sent = 0; sent < reply_.size();) {  // in small pieces, to be put together again
      const ssize_t length =
          send(client, reply_.data() + sent, std::min<size_t>(reply_.size() - sent, 7), MSG_NOSIGNAL);
      if (length <= 0) break;
      sent += static_cast<size_t>(length);
    }
    close(client);
  }

  void stop() {
    if (!thread_.joinable()) return;
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }

  int listener_;
  std::string reply_;
  std::string request_;
  std::thread thread_;
};

}  // namespace sluice::ctl
