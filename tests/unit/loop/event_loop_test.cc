#include "control/loop/event_loop.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <system_error>
#include <vector>

namespace sluice {
namespace {

using namespace std::chrono_literals;

class EventLoopTest : public testing::Test {
 protected:
  ~EventLoopTest() override {
    for (int fd : fds_) close(fd);
  }
  int make_event(unsigned initial = 0) {
    fds_.push_back(eventfd(initial, EFD_CLOEXEC | EFD_NONBLOCK));
    return fds_.back();
  }
  EventLoop loop_;
  std::vector<int> fds_;
};

TEST_F(EventLoopTest, CallsWhatIsReadyAndNothingElse) {
  const int ready = make_event(1), quiet = make_event();
  int calls = 0, wrong = 0;
  loop_.add(ready, EPOLLIN, [&](uint32_t events) { calls += (events & EPOLLIN) != 0; });
  loop_.add(quiet, EPOLLIN, [&](uint32_t) { ++wrong; });
  loop_.wait(0ns);
  loop_.wait(0ns);
  EXPECT_EQ(calls, 2);  // level-triggered: nobody has read it
  EXPECT_EQ(wrong, 0);
}

TEST_F(EventLoopTest, ModifyChangesWhatIsWaitedFor) {
  const int fd = make_event(1);
  uint32_t seen = 0;
  loop_.add(fd, EPOLLIN, [&](uint32_t events) { seen = events; });
  loop_.modify(fd, EPOLLOUT);
  loop_.wait(0ns);
  EXPECT_EQ(seen, uint32_t{EPOLLOUT});
  seen = 0;
  loop_.modify(fd, 0);
  loop_.wait(0ns);
  EXPECT_EQ(seen, 0u);
}

TEST_F(EventLoopTest, ACallbackMayRemoveItselfAndOthers) {
  const int a = make_event(1), b = make_event(1);
  int calls = 0;
  const auto remove_both = [&, big = std::vector<int>(1000, 7)](uint32_t) {
    loop_.remove(a);
    loop_.remove(b);
    EXPECT_EQ(big.back(), 7);  // what the callback holds outlives its removal
    ++calls;
  };
  loop_.add(a, EPOLLIN, remove_both);
  loop_.add(b, EPOLLIN, remove_both);
  loop_.wait(0ns);
  loop_.wait(0ns);
  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, ACallbackMayAddAnother) {
  const int a = make_event(1), b = make_event(1);
  int calls = 0;
  loop_.add(a, EPOLLIN, [&](uint32_t) {
    loop_.remove(a);
    loop_.add(b, EPOLLIN, [&](uint32_t) { ++calls; });
  });
  loop_.wait(0ns);
  loop_.wait(0ns);
  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, WaitsAtLeastAsLongAsAsked) {
  const auto began = std::chrono::steady_clock::now();
  loop_.wait(2'500us);
  EXPECT_GE(std::chrono::steady_clock::now() - began, 2'500us);
}

TEST_F(EventLoopTest, RefusesADescriptorThatCannotBeWaitedFor) {
  EXPECT_THROW(loop_.add(-1, EPOLLIN, {}), std::system_error);
}

}  // namespace
}  // namespace sluice
