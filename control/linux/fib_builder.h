// Turns what Linux says (NetworkModel) into the workers' forwarding table (dataplane/forward/fib.h), in steps as small
// as the change: a neighbour touches one next hop, a route one prefix. Call update() once per batch of netlink
// messages and publish fib() if it says so. Control thread only; no I/O.
//
//   route to                                   next hop
//   own address, subnet broadcast, 255.255.255.255, multicast, fe80::/10, anycast, 127/8    kLocal
//   through a port, by a gateway               kPort behind the gateway's MAC; kUnresolved while it is not known
//   through a port, on link                    kUnresolved, and below it one host entry per resolved neighbour: kPort
//   through a tunnel's interface               kTunnel; a gateway says which peer, where several could be
//   through any other interface                kLinux
//   unreachable, prohibit, blackhole           the same
// The next hops of a multipath route whose links are up make a group; flows go to those of them whose neighbour
// answers, or to all if none does.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "control/linux/network_model.h"
#include "dataplane/base/strong.h"
#include "dataplane/forward/fib.h"
#include "dataplane/lookup/prefix_map.h"

namespace sluice {

// Which of Linux's interfaces (by index) are ours.
struct OwnInterfaces {
  std::map<int, PortId> ports;       // their mirrors
  std::map<int, TunnelId> tunnels;   // their TUN interfaces
  std::map<PortId, uint16_t> vlans;  // of ports whose frames are tagged

  uint16_t vlan_of(PortId port) const {  // 0: none
    const auto it = vlans.find(port);
    return it == vlans.end() ? uint16_t{0} : it->second;
  }
  bool operator==(const OwnInterfaces&) const = default;
};

// What earlier tables used and the newest does not. Destroy it after a grace period that began when the newest table
// had been published.
struct FibGarbage {
  PrefixGarbage nodes;
  std::vector<std::shared_ptr<const std::vector<NextHop>>> next_hops;
  std::vector<std::shared_ptr<const std::vector<NextHopGroup>>> groups;
  std::vector<std::shared_ptr<const LocalAddresses>> local;
  bool empty() const { return nodes.empty() && next_hops.empty() && groups.empty() && local.empty(); }
};

class FibBuilder {  // control only
 public:
  explicit FibBuilder(const FlowHash& flows = {});

  // True: fib() is a new table that wants publishing. `changes` is what the model noted since the last call.
  bool update(const NetworkModel& model, const OwnInterfaces& own, const ModelChanges& changes);

  Fib fib() {
    return {map_.view(), *published_, *published_local_, *published_groups_, flows_};
  }  // valid until the garbage of a later update is destroyed
  FibGarbage take_garbage();
  // Neighbours that next hops have come to stand for since the last call (true), or do no longer (false): Linux does
  // not see who uses them, and has to be asked to keep them fresh.
  std::map<NeighbourKey, bool> take_neighbour_changes() { return std::exchange(neighbour_changes_, {}); }
  size_t prefixes() const { return map_.size(); }
  size_t next_hops() const { return slots_.size() - free_.size(); }

 private:
  // What a next hop is, apart from what its neighbour entry says: prefixes with the same key share one.
  struct HopKey {
    NextHop::Action action = NextHop::Action::kUnreachable;
    int interface = 0;
    IpAddress gateway;
    Family family = Family::kNone;  // of the packets, kPort only: it is in the link-layer header
    uint16_t mtu = 0;
    auto operator<=>(const HopKey&) const = default;
  };
  struct Way {  // what a prefix leads to
    HopKey hop;
    uint16_t weight = 1;
    auto operator<=>(const Way&) const = default;
  };
  using Ways = std::vector<Way>;  // more than one: a group
  struct Slot {
    Ways ways;           // the one
    uint32_t users = 0;  // prefixes and members of groups; 0: free
    const HopKey& key() const { return ways.front().hop; }
  };
  struct Group {
    Ways ways;
    std::vector<uint32_t> slots;  // of the ways
    uint32_t prefixes = 0;        // that use it; 0: free
  };

  void update_everything(const NetworkModel& model);
  void update_prefix(const NetworkModel& model, const Prefix& prefix);
  void note_local(const Prefix& prefix, bool local);
  void update_neighbours_in(const NetworkModel& model, const Prefix& prefix);
  void update_prefixes_in(const NetworkModel& model, const Prefix& prefix);
  Ways wanted(const NetworkModel& model, const Prefix& prefix) const;  // empty: nothing, what is shorter counts
  Ways neighbour_on_link(const NetworkModel& model, const Route& route, const IpAddress& address) const;
  Ways ways_of(const NetworkModel& model, const Route& route) const;
  HopKey hop_of(const NetworkModel& model, const Route& route, const RouteHop& hop) const;
  NextHop render(const NetworkModel& model, const HopKey& key) const;
  const Ways& ways_at(uint32_t value) const;
  uint32_t acquire(const NetworkModel& model, const Ways& ways);
  void release(uint32_t value);
  uint32_t acquire_slot(const NetworkModel& model, const HopKey& key);
  void release_slot(uint32_t slot);
  void count_neighbour(const HopKey& key, int change);
  NextHopGroup render_group(const Group& group) const;
  void render_slot(const NetworkModel& model, uint32_t slot);
  void render_again(const NetworkModel& model, const NeighbourKey& neighbour);
  bool publish();

  FlowHash flows_;
  OwnInterfaces own_;
  PrefixMap map_;  // prefix -> slot, or Fib::kGroup and a group
  std::map<Prefix, uint32_t> installed_;
  std::vector<Slot> slots_;
  std::vector<NextHop> next_hops_;  // by slot, as render() made them
  std::vector<uint32_t> free_;
  std::map<HopKey, uint32_t> slot_of_;
  std::vector<Group> groups_;
  std::vector<NextHopGroup> rendered_groups_;
  std::map<Ways, uint32_t> group_of_;
  std::map<NeighbourKey, int> neighbour_uses_;
  std::map<NeighbourKey, bool> neighbour_changes_;
  std::set<Prefix> local_;  // that lead to kLocal
  bool map_changed_ = false, next_hops_changed_ = false, groups_changed_ = false, local_changed_ = false;
  std::shared_ptr<const std::vector<NextHop>> published_;
  std::shared_ptr<const std::vector<NextHopGroup>> published_groups_;
  std::shared_ptr<const LocalAddresses> published_local_;
  FibGarbage garbage_;
};

}  // namespace sluice
