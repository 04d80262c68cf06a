// A server over a socket in a directory of the test's own, and clients that misbehave. One thread: the test turns the
// loop.
#include "control/loop/unix_server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>

namespace sluice {
namespace {

constexpr size_t kLongestLine = 100;

// Answers a line with the line, "big" with a megabyte; hangs up after "bye" and on a line that is too long.
class Echo final : public Conversation {
 public:
  explicit Echo(size_t& fed) : fed_(fed) {}
  bool feed(std::string_view bytes, std::string& output) override {
    EXPECT_LE(std::count(bytes.begin(), bytes.end(), '\n'), 1);
    EXPECT_TRUE(output.empty()) << "asked again before the last answer was taken";
    fed_ += bytes.size();
    line_ += bytes;
    if (line_.size() > kLongestLine) return false;
    if (line_.back() != '\n') return true;
    const bool bye = line_ == "bye\n";
    output += line_ == "big\n" ? std::string((1 << 20) - 1, 'x') + "\n" : line_ == "quiet\n" ? "" : line_;
    line_.clear();
    return !bye;
  }

 private:
  size_t& fed_;
  std::string line_;
};

class Client {
 public:
  explicit Client(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    connected_ = connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~Client() { close(fd_); }
  Client(const Client&) = delete;
  bool connected() const { return connected_; }
  void no_more() { shutdown(fd_, SHUT_WR); }
  // How much the socket took.
  size_t send(std::string_view text) {
    const ssize_t n = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
    return n < 0 ? 0 : static_cast<size_t>(n);
  }
  std::string receive(size_t most = 1 << 16) {
    std::string text(most, '\0');
    const ssize_t n = recv(fd_, text.data(), most, 0);
    closed_ |= n == 0 || (n < 0 && errno == ECONNRESET);
    text.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return text;
  }
  bool closed() {  // by the server, after everything it wrote was received
    receive();
    return closed_;
  }

 private:
  int fd_;
  bool connected_ = false, closed_ = false;
};

class UnixServerTest : public testing::Test {
 protected:
  UnixServerTest() {
    char name[] = "/tmp/sluice-loop-XXXXXX";
    directory_ = mkdtemp(name);
    path_ = directory_ + "/made/here.sock";
    server_ = serve();
  }
  ~UnixServerTest() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }
  std::unique_ptr<UnixServer> serve() {
    auto server = make(path_);
    EXPECT_TRUE(server) << server.error().what;
    return server ? std::move(*server) : nullptr;
  }
  Result<std::unique_ptr<UnixServer>> make(const std::string& path) {
    return UnixServer::create(
        loop_, path, [this] { return std::make_unique<Echo>(fed_); }, [this] { before_reply_(); });
  }
  void turn(int times = 20) {
    for (int i = 0; i < times; ++i) loop_.wait(Nanoseconds(0));
  }
  // Turns the loop until the client has received this much; gives up after many turns.
  std::string receive(Client& client, size_t size) {
    std::string text;
    for (int i = 0; i < 5000 && text.size() < size; ++i) {
      turn(1);
      text += client.receive();
    }
    return text;
  }

  EventLoop loop_;
  std::string directory_, path_;
  size_t fed_ = 0;  // bytes that conversations were given
  std::function<void()> before_reply_ = [] {};
  std::unique_ptr<UnixServer> server_;
};

TEST_F(UnixServerTest, AnswersOneRequestAfterAnotherOnOneConnection) {
  Client client(path_);
  for (int i = 0; i < 3; ++i) {
    const std::string request = "request " + std::to_string(i) + "\n";
    client.send(request);
    turn();
    EXPECT_EQ(client.receive(), request);
  }
  EXPECT_FALSE(client.closed());
}

TEST_F(UnixServerTest, AnswersPipelinedRequestsInOrder) {
  Client client(path_);
  std::string all;
  for (int i = 0; i < 500; ++i) all += "request " + std::to_string(i) + "\n";
  ASSERT_EQ(client.send(all), all.size());
  EXPECT_EQ(receive(client, all.size()), all);
}

TEST_F(UnixServerTest, WhatAReplySaysIsMadeTrueBeforeItLeaves) {
  Client client(path_);
  int replies = 0;
  before_reply_ = [&] {
    ++replies;
    EXPECT_EQ(client.receive(), "");
  };
  client.send("quiet\n");
  turn();
  EXPECT_EQ(replies, 0) << "nothing is said";
  for (int i = 1; i <= 3; ++i) {
    client.send("do it\n");
    turn();
    EXPECT_EQ(replies, i);
    EXPECT_EQ(client.receive(), "do it\n");
  }
}

TEST_F(UnixServerTest, ALineMayComeByteByByte) {
  Client client(path_);
  for (const char c : std::string("slow\n")) {
    EXPECT_EQ(client.receive(), "");
    client.send({&c, 1});
    turn();
  }
  EXPECT_EQ(client.receive(), "slow\n");
}

TEST_F(UnixServerTest, SilentAndHalfClientsHoldUpNobody) {  // U-16
  Client silent(path_), half(path_);
  half.send("half a li");
  {
    Client gone(path_);
    gone.send("half");
    turn();
  }
  Client good(path_);
  good.send("hello\n");
  turn();
  EXPECT_EQ(good.receive(), "hello\n");
  half.send("ne\n");
  turn();
  EXPECT_EQ(half.receive(), "half a line\n");
  EXPECT_FALSE(silent.closed());
}

TEST_F(UnixServerTest, ASlowReaderGetsEverythingAndHoldsUpNobody) {
  Client slow(path_), good(path_);
  slow.send("big\nafter\n");
  turn();
  good.send("hello\n");
  turn();
  EXPECT_EQ(good.receive(), "hello\n");
  std::string text;
  for (int i = 0; i < 3000 && text.size() < (1 << 20) + 6; ++i) {
    text += slow.receive(1000);
    turn(1);
  }
  ASSERT_EQ(text.size(), (1u << 20) + 6);
  EXPECT_EQ(text.substr(text.size() - 7), "\nafter\n");
}

TEST_F(UnixServerTest, RepliesThatNobodyReadsAreNotPiledUp) {
  Client client(path_);
  std::string requests;
  for (int i = 0; i < 10'000; ++i) requests += "big\n";  // ten gigabytes of replies
  client.send(requests);
  turn(100);
  EXPECT_EQ(fed_, 4u) << "the second request was looked at before the first reply was taken";
}

TEST_F(UnixServerTest, OneClientsThousandRequestsWaitTheirTurn) {
  Client greedy(path_), good(path_);
  std::string requests;
  for (int i = 0; i < 5000; ++i) requests += "r\n";
  greedy.send(requests);
  good.send("hello\n");
  turn(4);  // two to accept, two to answer
  EXPECT_EQ(good.receive(), "hello\n");
  EXPECT_LT(fed_, 100u);
  EXPECT_EQ(receive(greedy, requests.size()), requests);
}

TEST_F(UnixServerTest, AClientThatHasSentAllStillGetsItsReply) {
  Client client(path_);
  client.send("big\nlast\n");
  client.no_more();
  const std::string text = receive(client, (1 << 20) + 5);
  EXPECT_EQ(text.size(), (1u << 20) + 5);
  turn();
  EXPECT_TRUE(client.closed());
}

TEST_F(UnixServerTest, ALineWithoutEndIsCutOff) {  // U-17
  Client client(path_);
  const std::string flood(1 << 20, 'x');
  for (int i = 0; i < 64; ++i) {
    client.send(flood);
    turn(2);
  }
  EXPECT_LE(fed_, 128u * 1024) << "one read is what may pass beyond the longest line";
  EXPECT_TRUE(client.closed());
  Client next(path_);
  next.send("hello\n");
  turn();
  EXPECT_EQ(next.receive(), "hello\n");
}

TEST_F(UnixServerTest, TheLastReplyIsWrittenBeforeTheServerHangsUp) {
  Client client(path_);
  client.send("bye\nnever\n");
  turn();
  EXPECT_EQ(client.receive(), "bye\n");
  EXPECT_TRUE(client.closed());
}

TEST_F(UnixServerTest, MoreClientsThanItServesAreTurnedAway) {
  std::vector<std::unique_ptr<Client>> clients;
  for (size_t i = 0; i < UnixServer::kMaxClients; ++i) {
    clients.push_back(std::make_unique<Client>(path_));
    ASSERT_TRUE(clients.back()->connected());
    turn(2);
  }
  Client one_too_many(path_);
  turn();
  EXPECT_TRUE(one_too_many.closed());
  clients.pop_back();
  turn();
  Client next(path_);
  next.send("hello\n");
  turn();
  EXPECT_EQ(next.receive(), "hello\n");
}

TEST_F(UnixServerTest, TheFileIsPrivateAndGoneAtTheEnd) {  // U-13
  struct stat file;
  ASSERT_EQ(stat(path_.c_str(), &file), 0);
  EXPECT_EQ(file.st_mode, mode_t{S_IFSOCK | 0600});
  server_.reset();
  EXPECT_NE(stat(path_.c_str(), &file), 0);
}

TEST_F(UnixServerTest, EndingHangsUpOnEveryClient) {
  Client client(path_);
  turn();
  server_.reset();
  EXPECT_TRUE(client.closed());
}

TEST_F(UnixServerTest, AStaleFileIsReplaced) {  // U-11
  const std::string stale = directory_ + "/stale.sock";
  {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    stale.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    close(fd);  // a process that died leaves its file
  }
  auto server = make(stale);
  ASSERT_TRUE(server) << server.error().what;
  Client client(stale);
  client.send("hello\n");
  turn();
  EXPECT_EQ(client.receive(), "hello\n");
}

TEST_F(UnixServerTest, ALiveSocketIsRefusedAndLeftAlone) {  // U-11
  auto second = make(path_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, EADDRINUSE);
  EXPECT_NE(second.error().what.find("in use"), std::string::npos);
  Client client(path_);
  client.send("still here\n");
  turn();
  EXPECT_EQ(client.receive(), "still here\n");
}

TEST_F(UnixServerTest, ABusySocketIsAliveToo) {
  std::vector<std::unique_ptr<Client>> waiting;  // nobody accepts them: the listener's queue fills up
  do waiting.push_back(std::make_unique<Client>(path_));
  while (waiting.back()->connected() && waiting.size() < 1000);
  ASSERT_FALSE(waiting.back()->connected());
  auto second = make(path_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, EADDRINUSE);
}

TEST_F(UnixServerTest, AFileThatIsNoSocketIsNotRemoved) {
  const std::string file = directory_ + "/precious";
  std::ofstream(file) << "data";
  auto server = make(file);
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().what, file + ": exists and is not a socket: remove it, or choose another path");
  EXPECT_EQ(std::filesystem::file_size(file), 4u);
}

TEST_F(UnixServerTest, ImpossiblePathsAreErrors) {
  EXPECT_EQ(make("/tmp/" + std::string(200, 'x')).error().code, ENAMETOOLONG);
  std::ofstream(directory_ + "/file") << "";
  EXPECT_EQ(make(directory_ + "/file/a.sock").error().code, ENOTDIR);
}

}  // namespace
}  // namespace sluice
