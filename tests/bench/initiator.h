// The initiating side of a handshake with a gateway, made of the project's own handshake functions: messages in and
// out, no sockets and no packets.
#pragma once

#include <array>
#include <optional>

#include "control/noise/cookie.h"
#include "control/noise/handshake.h"

namespace sluice::bench {

class Initiator {
 public:
  Initiator(PrivateKey own, const PublicKey& gateway, Rng& rng);

  const PublicKey& public_key() const noexcept { return own_.public_key; }

  // Each is newer than the one before, however short ago that was.
  InitiationMessage initiate();
  // The answer to the last initiation. Throws std::runtime_error if it is none.
  void finish(ConstBytes message);

  // After finish(). Counters are the caller's; a gateway takes the session for confirmed by the first message.
  const SessionKeys& keys() const noexcept { return *keys_; }
  std::array<std::byte, kDataOverhead> keepalive(uint64_t counter) const noexcept;

 private:
  Rng& rng_;
  LocalIdentity own_;
  RemoteIdentity gateway_;
  CookieJar cookies_;
  WallTime stamp_;
  std::optional<SentInitiation> sent_;
  std::optional<SessionKeys> keys_;
};

}  // namespace sluice::bench
