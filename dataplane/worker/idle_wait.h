// How a worker with nothing to do waits: on its queues' descriptors and its doorbell, so that an idle gateway costs
// next to nothing and wakes within microseconds. The worker's thread only.
//
//   prepare()  asks the queues how they wake, arms interrupts, tells the doorbell;
//              the worker looks at everything once more: what came before prepare() rings no bell
//   wait()     sleeps; queues that cannot wake anybody (memif, rings) bound it to a short nap that grows
//   is_due()   afterwards: which queues may have traffic
//   finish()   disarms
#pragma once

#include <poll.h>

#include <chrono>
#include <cstdint>
#include <vector>

#include "dataplane/pipeline/mailbox.h"
#include "dataplane/port/port.h"

namespace sluice {

struct ReceiveQueue {
  Port* port;
  uint16_t queue;
};

class IdleWait {
 public:
  IdleWait(const std::vector<ReceiveQueue>& queues, Doorbell& bell);  // both outlive it

  void prepare() noexcept;
  void wait() noexcept;
  void look() noexcept;  // as wait(), without sleeping
  bool is_due(size_t queue) const noexcept {
    return blind_ || queue + 1 >= descriptors_.size() || descriptors_[queue + 1].revents != 0;
  }
  void finish() noexcept;
  void had_work() noexcept { nap_ = kShortestNap; }

 private:
  // Some devices never interrupt although they say they would (e1000e in QEMU), so no sleep is longer than this.
  static constexpr std::chrono::nanoseconds kLongestSleep = std::chrono::milliseconds(100);
  static constexpr std::chrono::nanoseconds kShortestNap = std::chrono::microseconds(20);
  static constexpr std::chrono::nanoseconds kLongestNap = std::chrono::microseconds(1000);

  void sleep(std::chrono::nanoseconds longest) noexcept;

  const std::vector<ReceiveQueue>& queues_;
  Doorbell& bell_;
  std::vector<pollfd> descriptors_;  // the doorbell's, then the queues'; room for all, never grows
  bool blind_ = false;               // a queue that cannot wake us
  std::chrono::nanoseconds nap_ = kShortestNap;
};

}  // namespace sluice
