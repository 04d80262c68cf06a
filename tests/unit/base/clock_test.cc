#include "dataplane/base/clock.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <fstream>

namespace sluice {
namespace {

// <linux/sched.h>; a process that has left its time namespace is still in it, its children are not.
constexpr int kNewTimeNamespace = 0x80;
constexpr int64_t kSuspendedSeconds = 1000;

int64_t seconds_of(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return time.tv_sec;
}

// A machine that was suspended, as far as its clocks can tell: boot time is ahead of monotonic time.
enum Outcome { kCounted, kNotCounted, kCannotPretend };
Outcome clock_on_a_machine_that_was_suspended() {
  const pid_t outer = fork();
  if (outer == 0) {
    if (unshare(kNewTimeNamespace) != 0) _exit(kCannotPretend);
    if (!(std::ofstream("/proc/self/timens_offsets") << "boottime " << kSuspendedSeconds << " 0\n" << std::flush))
      _exit(kCannotPretend);
    const pid_t inner = fork();
    if (inner == 0) {
      const int64_t ahead = SystemClock().now().ns / 1'000'000'000 - seconds_of(CLOCK_MONOTONIC);
      _exit(ahead >= kSuspendedSeconds - 1 ? kCounted : kNotCounted);
    }
    int status = 0;
    waitpid(inner, &status, 0);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : kNotCounted);
  }
  int status = 0;
  waitpid(outer, &status, 0);
  return WIFEXITED(status) ? static_cast<Outcome>(WEXITSTATUS(status)) : kNotCounted;
}

// Keys are as old on wake-up as the time that has passed.
TEST(SystemClock, T17CountsTheTimeSpentSuspended) {
  const Outcome outcome = clock_on_a_machine_that_was_suspended();
  if (outcome == kCannotPretend) GTEST_SKIP() << "needs a time namespace: root, and a kernel that has them";
  EXPECT_EQ(outcome, kCounted);
}

}  // namespace
}  // namespace sluice
