// The packets of one direction: written (and sealed) before a trial, checked after it, so that a trial does nothing but
// send and receive. Every packet carries a sequence number and a payload that follows from it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/crypto/aead.h"
#include "tests/bench/generator/site.h"
#include "tests/bench/generator/tunnel_end.h"
#include "tests/bench/traffic.h"

struct rte_mbuf;

namespace sluice::bench {

struct Arrival {
  rte_mbuf* frame;
  uint64_t tsc;
};

class Stream {
 public:
  Stream(Direction direction, Traffic traffic, TunnelEnd& end, AeadEngine& engine, rte_mempool* pool);

  Direction direction() const noexcept { return direction_; }
  const Traffic& traffic() const noexcept { return traffic_; }

  // The next `count` packets as frames for the gateway.
  std::vector<rte_mbuf*> prepare(size_t count);

  // What came out of the gateway after prepare(): which of its packets, in order of arrival (0: the first). Whatever is
  // not ours (announcements, late packets of an earlier trial) is passed over. Frees the frames. Throws
  // std::runtime_error if a packet came out changed, at the wrong place, twice, or before an earlier one.
  struct Delivered {
    size_t number;
    uint64_t tsc;
  };
  std::vector<Delivered> check(std::span<const Arrival> arrivals);

 private:
  struct Candidate {
    Bytes packet;  // the inner packet and its padding
    uint64_t tsc;
  };

  size_t size_of(uint64_t sequence) const { return traffic_.sizes[sequence % traffic_.sizes.size()]; }
  void write_inner(Bytes packet, uint64_t sequence) const;
  void seal(std::span<rte_mbuf*> frames);
  std::vector<Candidate> open(std::span<const Arrival> arrivals);         // at the far end of the tunnel
  std::vector<Candidate> plain(std::span<const Arrival> arrivals) const;  // at the lan, or past the tunnel
  void check_packet(Bytes packet, uint64_t sequence);

  Direction direction_;
  Traffic traffic_;
  TunnelEnd& end_;
  AeadEngine& engine_;
  rte_mempool* pool_;
  std::vector<std::byte> pattern_;   // payloads are pieces of it
  std::vector<std::byte> expected_;  // one packet
  uint64_t first_ = 0, next_ = 0;    // sequence numbers of the trial at hand
};

}  // namespace sluice::bench
