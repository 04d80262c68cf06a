// Whether a handshake message may cost us a Diffie-Hellman computation (WireGuard paper, section 5.3). One Admission
// serves all tunnels of the gateway. Control thread only.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "control/noise/cookie.h"
#include "control/noise/identity.h"
#include "control/noise/rate_limiter.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/net.h"
#include "dataplane/base/random.h"
#include "dataplane/wire/messages.h"

namespace sluice {

// Under load from the moment that `threshold` handshake messages wait until 1 s after the last such observation.
class LoadMonitor {
 public:
  static constexpr size_t kDefaultThreshold = 512;  // an eighth of Linux's queue of 4096
  static constexpr Nanoseconds kLinger = std::chrono::seconds(1);

  explicit LoadMonitor(size_t threshold = kDefaultThreshold) noexcept : threshold_(threshold) {}

  void observe(size_t handshakes_waiting, MonoTime now) noexcept;
  bool under_load(MonoTime now) const noexcept;

 private:
  size_t threshold_;
  MonoTime last_overload_;
};

enum class Verdict : uint8_t {
  kAccept,           // go on with decrypt_initiation_static or consume_response
  kSendCookie,       // answer with Admission::cookie_reply to the source of the datagram, do nothing else
  kDropBadMac1,      // made for another key, or noise
  kDropRateLimited,  // its source proved its address, but sends too many
};

class Admission {
 public:
  explicit Admission(Rng& rng, size_t load_threshold = LoadMonitor::kDefaultThreshold) noexcept;

  // How many handshake messages wait in all rings; call before working them off, every turn.
  void observe_load(size_t handshakes_waiting, MonoTime now) noexcept { load_.observe(handshakes_waiting, now); }
  bool under_load(MonoTime now) const noexcept { return load_.under_load(now); }

  // In this order: mac1; if under load: mac2, then the source's bucket. message: a whole initiation or response.
  Verdict judge(const LocalIdentity& local, ConstBytes message, const Endpoint& source, MonoTime now);

  CookieReplyMessage cookie_reply(const LocalIdentity& local, ConstBytes message, const Endpoint& source,
                                  MonoTime now) noexcept {
    return issuer_.make_reply(local, message, source, now);
  }

  void collect(MonoTime now) { limiter_.collect(now); }  // about once a second

 private:
  LoadMonitor load_;
  CookieIssuer issuer_;
  RateLimiter limiter_;
};

}  // namespace sluice
