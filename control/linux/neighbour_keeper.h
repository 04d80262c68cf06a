// Packets that wait for their next hop's link-layer address: a few per neighbour, bounded in total, oldest out first.
// The owner (control) asks Linux to resolve (Netlink::probe_neighbour) when hold() says so, takes the packets when the
// model says resolved, and answers with ICMP unreachable what expire() or give_up() hands back (drop
// neighbour_unresolved). Control thread only. `Packet` owns: a Handle<rte_mbuf, rte_pktmbuf_free>, or a test's string.
#pragma once

#include <cstddef>
#include <deque>
#include <iterator>
#include <list>
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
    NeighbourKey key;
    MonoTime since;
    std::deque<Packet> packets;  // never empty
  };
  Limits limits_;
  size_t packets_ = 0;
  std::list<Waiting> waiting_;  // oldest first
  std::map<NeighbourKey, typename std::list<Waiting>::iterator> by_key_;
};

template <class Packet>
auto NeighbourKeeper<Packet>::hold(const NeighbourKey& key, Packet packet, MonoTime now) -> Held {
  Held held;
  auto it = by_key_.find(key);
  if (it == by_key_.end()) {
    if (packets_ == limits_.packets || waiting_.size() == limits_.neighbours) {
      held.dropped = std::move(packet);
      return held;
    }
    it = by_key_.emplace(key, waiting_.insert(waiting_.end(), {key, now, {}})).first;
    held.ask = true;
  }
  auto& queue = it->second->packets;
  queue.push_back(std::move(packet));
  if (packets_ < limits_.packets && queue.size() <= limits_.packets_per_neighbour) {
    ++packets_;
  } else {
    held.dropped = std::move(queue.front());
    queue.pop_front();
  }
  return held;
}

template <class Packet>
std::vector<Packet> NeighbourKeeper<Packet>::take(const NeighbourKey& key) {
  const auto it = by_key_.find(key);
  if (it == by_key_.end()) return {};
  auto& queue = it->second->packets;
  std::vector<Packet> packets(std::make_move_iterator(queue.begin()), std::make_move_iterator(queue.end()));
  packets_ -= packets.size();
  waiting_.erase(it->second);
  by_key_.erase(it);
  return packets;
}

template <class Packet>
auto NeighbourKeeper<Packet>::expire(MonoTime now) -> std::vector<GivenUp> {
  std::vector<GivenUp> given_up;
  while (!waiting_.empty() && now - waiting_.front().since >= limits_.patience) {
    const NeighbourKey key = waiting_.front().key;
    given_up.push_back({key, take(key)});
  }
  return given_up;
}

template <class Packet>
std::optional<MonoTime> NeighbourKeeper<Packet>::next_deadline() const {
  if (waiting_.empty()) return std::nullopt;
  return waiting_.front().since + limits_.patience;
}

}  // namespace sluice
