// Finds the largest packet that passes on the way to a peer by sending some and waiting for their answers (datagram
// packetization layer path MTU discovery, RFC 8899), so that a router that drops in silence makes no black hole.
//
// First it asks at the base size whether the peer answers at all: if not, silence proves nothing and Linux's route
// stands. Then the route's MTU is tried; data uses it until it has failed, because almost every path is as wide as its
// route. Once it fails, data falls back to what has passed, and the search halves the interval. What it found is
// verified every minute in which packets were sent, and after ten minutes it looks for more again (PMTU_RAISE_TIMER).
// Pure: time and answers in, probes to send out.
#pragma once

#include <cstdint>
#include <optional>

#include "dataplane/base/clock.h"

namespace sluice {

class PathSearch {
 public:
  PathSearch() noexcept = default;

  static constexpr uint16_t kBase = 1280;                              // BASE_PLPMTU
  static constexpr unsigned kTries = 3;                                // MAX_PROBES
  static constexpr uint16_t kPrecision = 8;                            // bytes; the search ends there
  static constexpr Nanoseconds kAnswerTime = std::chrono::seconds(1);  // PROBE_TIMER, RFC 8899's least
  static constexpr Nanoseconds kVerifyEvery = std::chrono::seconds(60);
  static constexpr unsigned kVerificationsPerRaise = 10;

  struct Probe {
    uint16_t size;      // of the outer IP packet
    uint16_t sequence;  // comes back in the answer
  };

  // Towards a peer whose route takes packets of `route_mtu`; what was found before is forgotten.
  void start(uint16_t route_mtu, MonoTime now) noexcept;
  void stop() noexcept { *this = PathSearch(sequence_); }
  bool running() const noexcept { return state_ != State::kOff; }

  // Due at deadline(): the next probe to send, if there is one.
  std::optional<Probe> evaluate(MonoTime now) noexcept;
  // Nothing was sent meanwhile, or nothing can be: look again later.
  void postpone(MonoTime now) noexcept { deadline_ = now + kVerifyEvery; }
  void on_answer(uint16_t sequence, MonoTime now) noexcept;

  // Nothing is open: the next probe can wait until there is traffic that profits from it.
  bool settled() const noexcept { return (state_ == State::kFound || state_ == State::kDeaf) && tries_ == 0; }
  uint16_t limit() const noexcept { return limit_; }  // UINT16_MAX: none that the search knows of
  MonoTime deadline() const noexcept { return deadline_; }

 private:
  enum class State : uint8_t {
    kOff,
    kBase,    // does the peer answer?
    kSearch,  // between low_, which passes, and high_
    kFound,   // limit_ stands; verified now and then
    kDeaf,    // no answer to the base size
  };
  explicit PathSearch(uint16_t sequence) noexcept : sequence_(sequence) {}

  void ask(State state, uint16_t size, MonoTime now) noexcept;
  void narrow(MonoTime now) noexcept;
  void passed(MonoTime now) noexcept;
  void failed(MonoTime now) noexcept;
  void settle(State state, Nanoseconds time, MonoTime now) noexcept;

  State state_ = State::kOff;
  uint16_t route_ = 0, low_ = 0, high_ = 0;
  uint16_t limit_ = UINT16_MAX;
  uint16_t size_ = 0;      // being asked for
  uint16_t sequence_ = 0;  // of the last probe sent
  uint8_t tries_ = 0;      // of this size: the last that many sequences answer it
  uint8_t verified_ = 0;
  MonoTime deadline_;
};

}  // namespace sluice
