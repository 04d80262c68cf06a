#include "control/wg/path_search.h"

namespace sluice {

void PathSearch::start(uint16_t route_mtu, MonoTime now) noexcept {
  stop();
  if (route_mtu <= kBase) return;  // nothing to find
  route_ = route_mtu;
  ask(State::kBase, kBase, now);
}

std::optional<PathSearch::Probe> PathSearch::evaluate(MonoTime now) noexcept {
  if (deadline_.is_never() || now < deadline_) return std::nullopt;
  if (state_ == State::kDeaf) ask(State::kBase, kBase, now);
  if (state_ == State::kFound) {
    // Verified ten times: look whether the path has become wider.
    if (limit_ < route_ && verified_ == kVerificationsPerRaise) {
      low_ = limit_;
      high_ = route_;
      ask(State::kSearch, high_, now);
    } else if (tries_ == 0) {
      size_ = limit_ < route_ ? limit_ : route_;
    }
  }
  if (tries_ == kTries) {
    failed(now);
    if (now < deadline_) return std::nullopt;
  }
  ++tries_;
  ++sequence_;
  deadline_ = now + kAnswerTime;
  return Probe{size_, sequence_};
}

void PathSearch::on_answer(uint16_t sequence, MonoTime now) noexcept {
  const auto age = static_cast<uint16_t>(sequence_ - sequence);
  if (age < tries_) passed(now);  // else of an earlier size
}

void PathSearch::ask(State state, uint16_t size, MonoTime now) noexcept {
  state_ = state;
  size_ = size;
  tries_ = 0;
  deadline_ = now;
}

void PathSearch::settle(State state, Nanoseconds time, MonoTime now) noexcept {
  state_ = state;
  tries_ = 0;
  deadline_ = now + time;
}

// Asks for the middle of what is open, or ends.
void PathSearch::narrow(MonoTime now) noexcept {
  if (low_ != high_) limit_ = low_;
  if (high_ - low_ >= kPrecision) return ask(State::kSearch, static_cast<uint16_t>(low_ + (high_ - low_ + 1) / 2), now);
  limit_ = low_ == route_ ? UINT16_MAX : low_;
  verified_ = 0;
  settle(State::kFound, kVerifyEvery, now);
}

void PathSearch::passed(MonoTime now) noexcept {
  switch (state_) {
    case State::kBase:
      low_ = kBase;
      high_ = route_;
      return ask(State::kSearch, high_, now);
    case State::kSearch:
      low_ = size_;
      return narrow(now);
    case State::kFound:
      ++verified_;
      return settle(State::kFound, kVerifyEvery, now);
    default:
      return;
  }
}

void PathSearch::failed(MonoTime now) noexcept {
  switch (state_) {
    case State::kBase:
      limit_ = UINT16_MAX;  // silence says nothing: Linux's route stands
      return settle(State::kDeaf, kVerifyEvery * kVerificationsPerRaise, now);
    case State::kSearch:
      high_ = static_cast<uint16_t>(size_ - 1);
      return narrow(now);
    case State::kFound:
      return ask(State::kBase, kBase, now);  // the path has changed, or the peer does not answer any more
    default:
      return;
  }
}

}  // namespace sluice
