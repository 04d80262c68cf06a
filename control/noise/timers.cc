#include "control/noise/timers.h"

#include <algorithm>

namespace sluice {
namespace {

constexpr Nanoseconds kNewHandshakeAfter = kKeepaliveTimeout + kRekeyTimeout;
constexpr Nanoseconds kZeroKeysAfter = 3 * kRejectAfterTime;
// A keepalive that was asked for leaves within this time; a later packet is another one.
constexpr Nanoseconds kKeepaliveLeavesWithin = 1s;

Nanoseconds jitter(Rng& rng) noexcept {
  return Nanoseconds(rng.below(static_cast<uint32_t>(kRekeyTimeoutJitterMax.count()) + 1));
}

bool is_due(MonoTime deadline, MonoTime now) noexcept { return !deadline.is_never() && now >= deadline; }

}  // namespace

// --- Events
// ------------------------------------------------------------------------------------------------------------

void TimerState::start(MonoTime now) noexcept {
  if (running_) return;
  running_ = true;
  if (persistent_interval_ > 0s) persistent_keepalive_ = {.at = now, .armed_by = now};
}

void TimerState::stop() noexcept {
  const std::chrono::seconds interval = persistent_interval_;
  *this = TimerState();
  persistent_interval_ = interval;
}

void TimerState::set_persistent_keepalive(std::chrono::seconds interval, const Stamps& stamps, MonoTime now) noexcept {
  follow_persistent_keepalive(stamps);  // what has happened so far happened under the old interval
  const bool switched_on = persistent_interval_ == 0s && interval > 0s;
  persistent_interval_ = interval;
  if (running_ && switched_on) persistent_keepalive_ = {.at = now, .armed_by = now};
}

bool TimerState::start_handshake(MonoTime now) noexcept {
  attempts_ = 0;
  return may_send_handshake(now);
}

bool TimerState::start_last_minute_handshake(MonoTime now) noexcept {
  if (last_minute_handshake_sent_) return false;
  last_minute_handshake_sent_ = true;
  return start_handshake(now);
}

void TimerState::initiation_sent(MonoTime now, Rng& rng) noexcept {
  last_handshake_sent_ = now;
  retransmit_at_ = now + kRekeyTimeout + jitter(rng);
}

void TimerState::response_sent(MonoTime now) noexcept { last_handshake_sent_ = now; }

void TimerState::session_derived(MonoTime now) noexcept { zero_keys_at_ = now + kZeroKeysAfter; }

void TimerState::handshake_complete() noexcept {
  retransmit_at_ = {};
  attempts_ = 0;
  last_minute_handshake_sent_ = false;
}

void TimerState::private_key_changed() noexcept { last_handshake_sent_ = {}; }

void TimerState::way_opened() noexcept { last_handshake_sent_ = {}; }

bool TimerState::may_send_handshake(MonoTime now) const noexcept {
  return last_handshake_sent_.is_never() || now - last_handshake_sent_ >= kRekeyTimeout;
}

// --- Evaluation: first follow what the workers wrote, then see what has expired
// -----------------------------------------

TimerActions TimerState::evaluate(const Stamps& stamps, MonoTime now, Rng& rng) noexcept {
  TimerActions actions;
  if (!running_) return actions;
  follow_stamps(stamps, rng);
  expire_retransmission(actions, now);
  expire_new_handshake(actions, now);
  expire_passive_keepalive(actions, stamps, now);
  expire_persistent_keepalive(actions, now);
  expire_keys(actions, now);
  actions.next_deadline = next_deadline(now);
  return actions;
}

void TimerState::StampTimer::follow(MonoTime stamp, Nanoseconds after) noexcept {
  if (stamp == armed_by) return;
  armed_by = stamp;
  at = stamp.is_never() ? MonoTime{} : stamp + after;
}

void TimerState::follow_stamps(const Stamps& stamps, Rng& rng) noexcept {
  if (stamps.unanswered_data_sent_since != new_handshake_.armed_by)
    new_handshake_.follow(stamps.unanswered_data_sent_since, kNewHandshakeAfter + jitter(rng));
  follow_passive_keepalive(stamps);
  follow_persistent_keepalive(stamps);
}

void TimerState::follow_passive_keepalive(const Stamps& stamps) noexcept {
  if (!passive_rearmed_at_.is_never()) {
    if (stamps.last_sent_any <= passive_rearmed_at_ + kKeepaliveLeavesWithin) return;
    passive_rearmed_at_ = {};  // something was sent since: nothing is owed
    passive_keepalive_ = {};
  }
  passive_keepalive_.follow(stamps.unacknowledged_data_received_since, kKeepaliveTimeout);
}

void TimerState::follow_persistent_keepalive(const Stamps& stamps) noexcept {
  const MonoTime traversal = std::max(stamps.last_sent_any, stamps.last_received_any);
  if (persistent_interval_ > 0s && traversal > persistent_keepalive_.armed_by)
    persistent_keepalive_.follow(traversal, persistent_interval_);
}

void TimerState::expire_retransmission(TimerActions& actions, MonoTime now) noexcept {
  if (!is_due(retransmit_at_, now)) return;
  if (!may_send_handshake(now)) {  // a response went out meanwhile, but nobody has confirmed it: keep trying
    retransmit_at_ = last_handshake_sent_ + kRekeyTimeout;
    return;
  }
  retransmit_at_ = {};
  if (attempts_ > kMaxTimerHandshakes) return give_up(actions, now);
  ++attempts_;
  actions.forget_cached_source = true;
  actions.send_initiation = true;
}

void TimerState::give_up(TimerActions& actions, MonoTime now) noexcept {
  actions.give_up = true;
  actions.clear_unacknowledged_data = true;
  passive_keepalive_.at = {};
  passive_rearmed_at_ = {};
  if (zero_keys_at_.is_never()) zero_keys_at_ = now + kZeroKeysAfter;
}

void TimerState::expire_new_handshake(TimerActions& actions, MonoTime now) noexcept {
  if (!is_due(new_handshake_.at, now)) return;
  new_handshake_.at = {};
  actions.clear_unanswered_data = true;  // the next data sent counts anew
  actions.forget_cached_source = true;
  if (start_handshake(now)) actions.send_initiation = true;
}

void TimerState::expire_passive_keepalive(TimerActions& actions, const Stamps& stamps, MonoTime now) noexcept {
  if (!is_due(passive_keepalive_.at, now)) return;
  const bool more_came = passive_rearmed_at_.is_never() ? stamps.need_another_keepalive
                                                        : !stamps.unacknowledged_data_received_since.is_never();
  passive_keepalive_.at = more_came ? now + kKeepaliveTimeout : MonoTime{};
  passive_rearmed_at_ = more_came ? now : MonoTime{};
  actions.clear_unacknowledged_data = true;
  actions.send_keepalive = true;
}

void TimerState::expire_persistent_keepalive(TimerActions& actions, MonoTime now) noexcept {
  if (!is_due(persistent_keepalive_.at, now)) return;
  persistent_keepalive_.at = {};
  if (persistent_interval_ == 0s) return;
  actions.send_keepalive = true;
  // What is sent now arms it again. If nothing can be sent (no endpoint yet), ask again; while a handshake is under way
  // its retries do the asking.
  if (retransmit_at_.is_never()) persistent_keepalive_.at = now + persistent_interval_;
}

void TimerState::expire_keys(TimerActions& actions, MonoTime now) noexcept {
  if (!is_due(zero_keys_at_, now)) return;
  zero_keys_at_ = {};
  actions.zero_keys = true;
}

MonoTime TimerState::next_deadline(MonoTime now) const noexcept {
  MonoTime next;
  const auto consider = [&next](MonoTime deadline) {
    if (!deadline.is_never() && (next.is_never() || deadline < next)) next = deadline;
  };
  consider(retransmit_at_);
  consider(new_handshake_.at);
  consider(passive_keepalive_.at);
  consider(persistent_keepalive_.at);
  consider(zero_keys_at_);
  // While there are keys, workers may arm a timer at any moment without telling: the shortest runs for 10 s, or for the
  // persistent interval.
  if (!zero_keys_at_.is_never()) {
    consider(now + kKeepaliveTimeout);
    if (persistent_interval_ > 0s) consider(now + persistent_interval_);
  }
  return next;
}

}  // namespace sluice
