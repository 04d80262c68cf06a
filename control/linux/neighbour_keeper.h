// Packets that wait for their next hop's link-layer address: a few per neighbour, bounded in total, oldest out first.
// The owner (control) asks Linux to resolve (Netlink::probe_neighbour) when hold() says so, takes the packets when the
// model says resolved, and answers with ICMP unreachable what expire() or give_up() hands back (drop
// neighbour_unresolved). Control thread only. `Packet` owns: a Handle<rte_mbuf, rte_pktmbuf_free>, or a test's string.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "control/linux/network_model.h"
#include "dataplane/base/clock.h"

namespace sluice {

struct NeighbourKeeperLimits {
  size_t packets_per_neighbour = 16;
  size_t packets = 1024;
  size_t neighbours = 512;  // waited for at a time: below Linux's own gc_thresh3 of 1024
  // Linux's own patience: three probes, a second apart (mcast_solicit, retrans_time).
  Nanoseconds patience = std::chrono::seconds(3);
};

template <class Packet>
class NeighbourKeeper {
 public:
  using Limits = NeighbourKeeperLimits;
  struct Held {
    bool ask = false;               // first packet for this neighbour: ask Linux to resolve it
    std::optional<Packet> dropped;  // no room: the neighbour's oldest packet, or this one
  };
  struct GivenUp {
    NeighbourKey key;
    std::vector<Packet> packets;  // oldest first
  };

  explicit NeighbourKeeper(Limits limits = {}) : limits_(limits) {}

  Held hold(const NeighbourKey& key, Packet packet, MonoTime now);
  std::vector<Packet> take(const NeighbourKey& key);  // resolved: send them, oldest first. Empty: none waited
  std::vector<Packet> give_up(const NeighbourKey& key) { return take(key); }  // Linux says failed
  std::vector<GivenUp> expire(MonoTime now);                                  // waited for too long
  std::optional<MonoTime> next_deadline() const;                              // when to call expire() next
  size_t packets() const { return packets_; }
  size_t neighbours() const { return waiting_.size(); }

 private:
  struct Waiting {
    MonoTime since;
    std::deque<Packet> packets;
  };
  Limits limits_;
  size_t packets_ = 0;
  std::map<NeighbourKey, Waiting> waiting_;
  std::deque<std::pair<MonoTime, NeighbourKey>> by_age_;  // oldest first; entries that were taken are skipped
};

}  // namespace sluice
