// What Linux says of its network, as a plain value: links, addresses, rules, routes of all tables, neighbours.
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
  int interface = 0;    // 0: none (blackhole and the like)
  IpAddress gateway;    // none: on link. May be IPv6 for an IPv4 route (RTA_VIA)
  uint16_t weight = 1;  // share of the flows, of a multipath route
  auto operator<=>(const RouteHop&) const = default;
};

// A next hop that Linux knows by a number and routes refer to (ip nexthop), or a group of such.
struct NextHopObject {
  std::vector<RouteHop> hops;  // one, or none for a blackhole
  struct Member {
    uint32_t id = 0;
    uint16_t weight = 1;
    auto operator<=>(const Member&) const = default;
  };
  std::vector<Member> members;  // of a group
  auto operator<=>(const NextHopObject&) const = default;
};

struct Route {
  enum class Type : uint8_t { kUnicast, kLocal, kBroadcast, kMulticast, kBlackhole, kUnreachable, kProhibit };
  enum class Table : uint32_t { kDefault = 253, kMain = 254, kLocal = 255 };  // any other number, too
  Prefix prefix;
  Table table = Table::kMain;
  uint32_t metric = 0;  // smaller is better
  Type type = Type::kUnicast;
  uint32_t mtu = 0;            // of the route; 0: the link's
  IpAddress preferred_source;  // RTA_PREFSRC
  std::vector<RouteHop> hops;  // more than one: multipath
  uint32_t next_hop = 0;       // the object whose hops they are; 0: the route's own
  auto operator<=>(const Route&) const = default;
};

// A policy rule (ip rule): in which tables to look, in the order of priorities.
struct Rule {
  Family family = Family::kNone;
  uint32_t priority = 0;
  Route::Table table = Route::Table::kMain;
  uint32_t mark = 0, mark_mask = 0;  // of packets: mark & mask; no mask: any
  Prefix source, destination;        // family none: any
  bool inverted = false;             // for packets that all of the above does not fit
  int suppressed_length = -1;        // routes of at most this prefix length do not count
  // Asks for what is not known here (interfaces, ports, users, TOS), or refuses instead of naming a table. Nothing
  // follows it.
  bool foreign = false;
  auto operator<=>(const Rule&) const = default;
};

// What rules ask of a packet.
struct Flow {
  IpAddress destination;
  uint32_t mark = 0;
  IpAddress source;  // none: not known, as of packets that are forwarded; rules that ask for it do not fit
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
  bool rules = false;  // any rule: likewise
  std::set<IpAddress> addresses;
  std::set<Prefix> routes;
  std::set<NeighbourKey> neighbours;
  bool empty() const { return !links && !rules && addresses.empty() && routes.empty() && neighbours.empty(); }
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
  void put_next_hop(uint32_t id, NextHopObject object);  // and what it means for routes that refer to it
  void erase_next_hop(uint32_t id);                      // with the routes that refer to it
  void put_rule(const Rule& rule);
  void erase_rule(const Rule& rule);
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

  // By prefix; those of one prefix by table, then by metric, best first.
  const std::map<Prefix, std::vector<Route>>& routes() const { return now_.routes; }
  // In Linux's order. While Linux names none: those that it starts with, for the tables local, main and default.
  const std::vector<Rule>& rules(Family family) const;
  // False: every packet finds its route in table local or else in main, so that a route matters to its own prefix only.
  bool has_policy() const;

  // Next hops whose link is up, and of those the ones whose neighbour answers if there are such.
  std::vector<RouteHop> usable_hops(const Route& route) const;
  const RouteHop* live_hop(const Route& route) const;  // the first whose link is up
  // Longest-prefix match as Linux does it, table by table as the rules say, without routes for which `skip` says yes.
  using Skip = std::function<bool(const Route&)>;
  const Route* lookup(const Flow& flow, const Skip& skip = {}) const { return find(flow, UINT8_MAX, skip); }
  const Route* lookup(const IpAddress& destination, const Skip& skip = {}) const {
    return lookup(Flow{.destination = destination}, skip);
  }
  // The route that forwarded packets to a prefix follow, as long as they match no longer one. nullptr: none.
  const Route* lookup(const Prefix& prefix) const { return find({.destination = prefix.address}, prefix.length, {}); }
  // The same if it is a route to exactly this prefix.
  const Route* best(const Prefix& prefix) const;

  ModelChanges take_changes();  // since the last call

 private:
  struct State {
    std::map<int, Link> links;
    std::vector<LinkAddress> addresses;
    std::map<Prefix, std::vector<Route>> routes;
    std::map<NeighbourKey, Neighbour> neighbours;
    std::map<uint32_t, NextHopObject> next_hops;
    std::array<std::vector<Rule>, 2> rules;  // IPv4, IPv6
  };
  State& target() { return next_ ? *next_ : now_; }
  bool note() const { return !next_; }  // while a dump is under way, end_resync() finds the differences

  bool has_live_hop(const Route& route) const;
  const Route* find(const Flow& flow, unsigned longest, const Skip& skip) const;
  const Route* find_in_table(const Rule& rule, const Flow& flow, unsigned longest, const Skip& skip) const;
  std::vector<RouteHop> hops_of(uint32_t next_hop) const;
  void resolve_next_hop(Route& route);
  void note_length(const Route& route);

  State now_;
  std::optional<State> next_;  // under construction by a dump
  // Lengths of IPv4, IPv6 prefixes worth trying in a table; a few too many do no harm.
  std::array<std::map<Route::Table, std::bitset<129>>, 2> lengths_;
  bool uncertain_ = false;
  ModelChanges changes_;
};

}  // namespace sluice
