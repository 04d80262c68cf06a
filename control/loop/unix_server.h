// A Unix stream socket that serves conversations: lines in, bytes out. Non-blocking; a client that does not read, sends
// nothing or half a line holds up nobody, and memory per client is bounded by one read and one reply. Control thread
// only.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "control/loop/event_loop.h"
#include "dataplane/base/result.h"

namespace sluice {

class Conversation {
 public:
  virtual ~Conversation() = default;
  // Handles `bytes`, at most one line and its newline, and appends replies to `output`. False: close after the output
  // was written.
  virtual bool feed(std::string_view bytes, std::string& output) = 0;
};

class UnixServer {
 public:
  using Factory = std::function<std::unique_ptr<Conversation>()>;
  using BeforeReply = std::function<void()>;  // makes true what the next reply says has been done
  static constexpr size_t kMaxClients = 256;

  // Binds `path` (mode 0600; its directory is made, 0755). A file left behind by a dead process is replaced; one that
  // somebody listens on is an error.
  static Result<std::unique_ptr<UnixServer>> create(EventLoop& loop, const std::string& path, Factory factory,
                                                    BeforeReply before_reply);
  // The same over a socket that listens at `path` already (made by another process for us).
  static Result<std::unique_ptr<UnixServer>> adopt(EventLoop& loop, const std::string& path, int fd, Factory factory,
                                                   BeforeReply before_reply);
  ~UnixServer();  // closes all and removes the file
  UnixServer(const UnixServer&) = delete;
  UnixServer& operator=(const UnixServer&) = delete;

 private:
  struct Client {
    int fd;
    std::unique_ptr<Conversation> conversation;
    std::string input;   // read, not yet all given to the conversation
    std::string output;  // replies, not yet all written
    size_t fed = 0;
    size_t written = 0;
    bool closing = false;
  };
  using Clients = std::list<Client>;

  UnixServer(EventLoop& loop, std::string path, int fd, Factory factory, BeforeReply before_reply);
  void accept_client();
  void on_ready(Clients::iterator client);
  bool read_some(Client& client);
  void converse(Client& client);
  bool write_some(Client& client);
  void close_client(Clients::iterator client);

  EventLoop& loop_;
  std::string path_;
  int fd_;
  Factory factory_;
  BeforeReply before_reply_;
  Clients clients_;
};

}  // namespace sluice
