#include "control/noise/admission.h"

namespace sluice {

void LoadMonitor::observe(size_t handshakes_waiting, MonoTime now) noexcept {
  if (handshakes_waiting >= threshold_) last_overload_ = now;
}

bool LoadMonitor::under_load(MonoTime now) const noexcept {
  return !last_overload_.is_never() && now - last_overload_ < kLinger;
}

Admission::Admission(Rng& rng, size_t load_threshold) noexcept : load_(load_threshold), issuer_(rng), limiter_(rng) {}

Verdict Admission::judge(const LocalIdentity& local, ConstBytes message, const Endpoint& source, MonoTime now) {
  if (!has_valid_mac1(local, message)) return Verdict::kDropBadMac1;
  if (!load_.under_load(now)) return Verdict::kAccept;
  if (!issuer_.has_valid_mac2(message, source, now)) return Verdict::kSendCookie;
  return limiter_.allow(source.address, now) ? Verdict::kAccept : Verdict::kDropRateLimited;
}

}  // namespace sluice
