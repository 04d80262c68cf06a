// Whether a worker has more to do than one core can: decided by the worker at the end of each poll, from what it knows
// anyway. It is saturated when it would be busy all the time without help and bursts come in full; it is no longer when
// it would have time to spare without help. Between the two levels nothing changes.
#pragma once

#include <cstdint>

namespace sluice {

class Saturation {
 public:
  struct Levels {
    unsigned enter = 95;  // per cent of the time that the work takes, whoever does it,
    unsigned full = 50;   // while so many per cent of the bursts come in full
    unsigned leave = 80;  // less than that: left
  };
  // `window`: the time over which the load is taken; in ticks, as all times here.
  Saturation(uint64_t window, const Levels& levels) noexcept : window_(window), levels_(levels) {}

  struct Poll {
    uint64_t began, ended;
    unsigned rounds;       // with packets; 0: the poll found nothing to do
    unsigned full_rounds;  // of those: a queue gave a whole burst, more is likely to wait in it
    uint64_t helped;       // ticks that other workers spent on our packets
  };
  // Answers whether the worker is saturated.
  bool note(const Poll& poll) noexcept {
    if (poll.rounds != 0) busy_ += poll.ended - poll.began;
    busy_ += poll.helped;
    rounds_ += poll.rounds;
    full_rounds_ += poll.full_rounds;
    const uint64_t elapsed = poll.ended - window_began_;
    if (elapsed >= window_) judge(elapsed, poll.ended);
    return saturated_;
  }
  bool saturated() const noexcept { return saturated_; }

 private:
  void judge(uint64_t elapsed, uint64_t now) noexcept {
    const uint64_t load = 100 * busy_;
    if (saturated_) {
      saturated_ = load >= levels_.leave * elapsed;
    } else {
      saturated_ = load >= levels_.enter * elapsed && 100 * full_rounds_ >= levels_.full * rounds_;
    }
    window_began_ = now;
    busy_ = rounds_ = full_rounds_ = 0;
  }

  const uint64_t window_;
  const Levels levels_;
  uint64_t window_began_ = 0, busy_ = 0;
  uint64_t rounds_ = 0, full_rounds_ = 0;
  bool saturated_ = false;
};

}  // namespace sluice
