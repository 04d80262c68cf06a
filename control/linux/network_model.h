// What Linux says of its network, as a plain value: links, addresses, routes of the tables main and local, neighbours.
// Written by netlink.cc (or a test) one object at a time; it notes what changed, so that the forwarding table
// (fib_builder.h) follows in small steps. Control thread only; no I/O.
#pragma once

#include <array>
#include <bitset>
#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/net.h"
#include "dataplane/base/strong.h"

namespace sluice {

struct Link {
  int index = 0;  // Linux's interface index
  std::string name;
  bool up = false;   // administratively (IFF_UP)
  uint32_t mtu = 0;  // of IP packets
  Mac mac;           // zero where the link has none
  auto operator<=>(const Link&) const = default;
};

struct LinkAddress {
  int interface = 0;
  InterfaceAddress address;
  bool host_scope = false;  // 127.0.0.1 and the like: never a source on the wire
  bool usable = true;       // as a source: not tentative, duplicate or deprecated
  auto operator<=>(const LinkAddress&) const = default;
};

struct RouteHop {
  int interface = 0;  // 0: none (blackhole and the like)
  IpAddress gateway;  // none: on link. May be IPv6 for an IPv4 route (RTA_VIA)
  auto operator<=>(const RouteHop&) const = default;
};

struct Route {
  enum class Type : uint8_t { kUnicast, kLocal, kBroadcast, kMulticast, kBlackhole, kUnreachable, kProhibit };
  enum class Table : uint8_t { kLocal, kMain };  // in the order in which Linux asks them
  Prefix prefix;
  Table table = Table::kMain;
  uint32_t metric = 0;  // smaller is better
  Type type = Type::kUnicast;
  uint32_t mtu = 0;            // of the route; 0: the link's
  IpAddress preferred_source;  // RTA_PREFSRC
  std::vector<RouteHop> hops;  // more than one: multipath
  auto operator<=>(const Route&) const = default;
};

struct NeighbourKey {
  IpAddress address;
  int interface = 0;
  bool operator==(const NeighbourKey&) const = default;
  std::strong_ordering operator<=>(const NeighbourKey& other) const {  // the neighbours of a prefix stand together
    if (const auto c = address.family <=> other.address.family; c != 0) return c;
    if (const auto c = address.bytes <=> other.address.bytes; c != 0) return c;
    return interface <=> other.interface;
  }
};

struct Neighbour {
  enum class State : uint8_t {
    kUnresolved,  // none, incomplete
    kReachable,   // reachable, delay, probe: Linux is on it
    kStale,       // usable, but wants confirming by somebody who uses it
    kPermanent,   // set by the operator, or needs no resolution
    kFailed,      // does not answer
  } state = State::kUnresolved;
  Mac mac;
  auto operator<=>(const Neighbour&) const = default;
  bool is_resolved() const { return state != State::kUnresolved && state != State::kFailed; }
};

// What take_changes() hands out. Prefixes and keys rather than old and new values: look the new ones up in the model.
struct ModelChanges {
  bool links = false;  // any link: everything that depends on links is to be looked at again
  std::set<IpAddress> addresses;
  std::set<Prefix> routes;
  std::set<NeighbourKey> neighbours;
  bool empty() const { return !links && addresses.empty() && routes.empty() && neighbours.empty(); }
  // May the way to `destination` have changed, apart from its next hop's neighbour entry? (Outer routes of peers.)
  bool touches_route_to(const IpAddress& destination) const;
};

class NetworkModel {
 public:
  void put_link(Link link);  // adds or replaces, as every put_ below
  void erase_link(int index);
  void put_address(LinkAddress address);
  void erase_address(const LinkAddress& address);
  // Linux allows several routes with the same prefix, table and metric; they are kept in its order, the first counts.
  enum class Insert : uint8_t { kFirst, kLast, kReplace };  // among those
  void put_route(Route route, Insert how = Insert::kFirst);
  void erase_route(const Route& route);
  void put_neighbour(const NeighbourKey& key, const Neighbour& neighbour);
  void erase_neighbour(const NeighbourKey& key);

  // A dump of everything: what is put and erased between the two makes a new state beside the current one, which stays
  // readable; the second puts it in place and notes what differs.
  void begin_resync();
  void end_resync();
  // Linux does not send every change: it takes IPv4 routes away with links and addresses in silence, and says little
  // about changes within IPv6 multipath routes. Then only a new dump tells. Reset by begin_resync().
  bool is_uncertain() const { return uncertain_; }

  const std::map<int, Link>& links() const { return now_.links; }
  const Link* link(int index) const;
  const Link* link(std::string_view name) const;
  const std::vector<LinkAddress>& addresses() const { return now_.addresses; }  // in Linux's order: primary ones first
  bool is_own(const IpAddress& address) const;
  const std::map<NeighbourKey, Neighbour>& neighbours() const { return now_.neighbours; }
  const Neighbour* neighbour(const NeighbourKey& key) const;

  // Best first: table local before main, then by metric.
  const std::map<Prefix, std::vector<Route>>& routes() const { return now_.routes; }
  // The route that counts for exactly this prefix: the best that has a live next hop or needs none. nullptr: none.
  const Route* best(const Prefix& prefix) const;
  const RouteHop* live_hop(const Route& route) const;  // the first whose link is up
  // Longest-prefix match as Linux does it: table local first, then main, without routes for which `skip` says yes.
  const Route* lookup(const IpAddress& destination, const std::function<bool(const Route&)>& skip = {}) const;

  ModelChanges take_changes();  // since the last call

 private:
  struct State {
    std::map<int, Link> links;
    std::vector<LinkAddress> addresses;
    std::map<Prefix, std::vector<Route>> routes;
    std::map<NeighbourKey, Neighbour> neighbours;
  };
  State& target() { return next_ ? *next_ : now_; }
  bool note() const { return !next_; }  // while a dump is under way, end_resync() finds the differences

  State now_;
  std::optional<State> next_;                // under construction by a dump
  std::array<std::bitset<129>, 2> lengths_;  // of IPv4, IPv6 prefixes: those worth trying; a few too many do no harm
  bool uncertain_ = false;
  ModelChanges changes_;
};

}  // namespace sluice
