// The hosts and peers around a gateway: they prepare bursts of frames at its ports, outside of what is timed, and check
// what comes out.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "dataplane/crypto/aead.h"
#include "tests/bench/gateway.h"

namespace sluice::bench {

std::vector<rte_mbuf*> buffers_of(rte_mempool* pool, size_t count);  // throws std::runtime_error if there are too few

// One packet between a host at the lan and one behind a peer.
struct Conversation {
  Session* session;
  IpAddress near, far;
  size_t size;  // of the inner IP packet, 36 bytes at least
};

enum class Direction { kOutbound, kInbound };  // lan to peer, peer to lan

class FarSide {
 public:
  explicit FarSide(Gateway& gateway);

  void prepare(Direction direction, std::span<const Conversation> burst);
  std::vector<rte_mbuf*> make_frames(Direction direction, std::span<const Conversation> burst);
  // Everything prepared came out but `lost` packets, in order, to the right place and unharmed. Throws
  // std::runtime_error.
  void verify(Direction direction, std::span<const Conversation> burst, size_t lost = 0);
  void free_transmitted();

  // The engine alone on what the gateway has just transmitted: the same sizes, keys and buffers. Nanoseconds. What was
  // transmitted is worth nothing afterwards.
  double cipher_time(Direction direction, std::span<const Conversation> burst);

 private:
  void write_inner(std::byte* at, const Conversation& packet, Direction direction);
  uint64_t verify(Direction direction, std::span<const Conversation> burst, uint64_t first, rte_mbuf* frame);
  Bytes text_of(rte_mbuf* frame, Direction direction, size_t size) const;
  void seal(std::span<rte_mbuf*> frames, std::span<const Conversation> burst);

  Gateway& gateway_;
  std::unique_ptr<AeadEngine> engine_;  // of the gateway's kind
  uint64_t sequence_ = 0;               // stands in each packet
};

}  // namespace sluice::bench
