// The other end of a handshake: an initiator with a key of its own, that puts its messages into frames.
#pragma once

#include "tests/bench/gateway.h"
#include "tests/bench/initiator.h"

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
  Initiator initiator_;
  Endpoint endpoint_;
  PeerControl* peer_;
};

}  // namespace sluice::bench
