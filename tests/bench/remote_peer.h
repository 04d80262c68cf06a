// The other end of a handshake: an initiator with a key of its own, made of the project's own handshake functions.
#pragma once

#include <optional>

#include "control/noise/cookie.h"
#include "control/noise/handshake.h"
#include "tests/bench/gateway.h"

namespace sluice::bench {

class RemotePeer {
 public:
  // Adds itself to the gateway's tunnel.
  RemotePeer(Gateway& gateway, uint32_t number, Rng& rng);

  // A frame with the next initiation, for the gateway's port wan.
  rte_mbuf* initiate();
  // Takes the response out of a frame that the gateway transmitted. Throws std::runtime_error if it is none.
  void finish(rte_mbuf* frame);
  // After finish(): a frame with an empty message under the new session, which confirms it.
  rte_mbuf* confirm();

  PeerControl& at_gateway() noexcept { return *peer_; }

 private:
  rte_mbuf* frame_with(ConstBytes message);

  Gateway& gateway_;
  Rng& rng_;
  LocalIdentity own_;
  RemoteIdentity remote_;
  CookieJar cookies_;
  Endpoint endpoint_;
  PeerControl* peer_;
  WallTime stamp_;
  std::optional<SentInitiation> sent_;
  std::optional<SessionKeys> keys_;
};

}  // namespace sluice::bench
