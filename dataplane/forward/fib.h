// The forwarding table the workers use: destination -> next hop, as learned from Linux. Control builds it
// (control/linux), publishes it as a value and frees what it replaced after a grace period. Workers only look up.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/base/net.h"
#include "dataplane/base/strong.h"
#include "dataplane/forward/flow_hash.h"
#include "dataplane/forward/local_addresses.h"
#include "dataplane/lookup/prefix_map.h"
#include "dataplane/wire/ip.h"

namespace sluice {

struct NextHop {
  enum class Action : uint8_t {
    kPort,         // out of `port` behind the prebuilt link-layer header
    kTunnel,       // into `tunnel`: its allowed IPs choose the peer
    kLocal,        // for the gateway itself (own address, broadcast, multicast): to Linux
    kLinux,        // leaves by an interface sluice does not own: to Linux, which forwards it
    kUnresolved,   // on `port`, but the neighbour's address is not known: ask Linux, hold the packet
    kUnreachable,  // ICMP unreachable
    kProhibit,     // ICMP administratively prohibited
    kBlackhole,    // silently dropped
  } action = Action::kUnreachable;
  uint8_t l2_size = 0;
  uint16_t mtu = 0;  // largest IP packet this way
  PortId port = kNoPort;
  TunnelId tunnel = kNoTunnel;  // kTunnel
  std::array<std::byte, kMaxLinkHeader> l2_header{};
  // The neighbour; none: the destination itself is on the link. In a tunnel: the peer that has it as its address.
  IpAddress gateway;
  bool operator==(const NextHop&) const = default;
};

// Several next hops of one prefix: each flow takes one of them, by its hash.
struct NextHopGroup {
  static constexpr unsigned kBuckets = 64;
  std::array<uint32_t, kBuckets> hops{};  // where they are in the table; each as often as its weight says
  bool operator==(const NextHopGroup&) const = default;
};

// A value over immutable parts: copy it freely while they live.
class Fib {
 public:
  Fib() = default;
  // `routes` have the numbers of next hops as their values, or kGroup and the number of a group. `local`: what they
  // lead to kLocal. `flows`: how flows choose within a group.
  static constexpr uint32_t kGroup = 1u << 30;
  Fib(PrefixView routes, std::span<const NextHop> next_hops, const LocalAddresses& local = kAskAlways,
      std::span<const NextHopGroup> groups = {}, const FlowHash& flows = {})
      : routes_(routes), next_hops_(next_hops), groups_(groups), local_(&local), flows_(flows) {}

  // Next hops by the value that `routes` have for the destination. Never nullptr: what no route leads to has the action
  // kUnreachable.
  const NextHop& at(uint32_t value) const noexcept {
    return value < next_hops_.size() ? next_hops_[value] : kUnreachable;
  }
  // nullptr: it is no group, at() answers.
  const NextHopGroup* group(uint32_t value) const noexcept {
    if (value < next_hops_.size()) [[likely]]
      return nullptr;
    return (value ^ kGroup) < groups_.size() ? &groups_[value ^ kGroup] : nullptr;
  }
  const NextHop& choose(const NextHopGroup& group, uint32_t flow_hash) const noexcept {
    return at(group.hops[flow_hash % NextHopGroup::kBuckets]);
  }
  const NextHop& find(const IpAddress& destination, uint32_t flow_hash = 0) const noexcept {
    const uint32_t value = routes_.find(destination);
    const NextHopGroup* several = group(value);
    return several != nullptr ? choose(*several, flow_hash) : at(value);
  }
  uint32_t flow_hash(ConstBytes packet) const noexcept { return flows_.of(packet); }
  const PrefixView& routes() const noexcept { return routes_; }

  // Whether the action for an address is kLocal; mostly without a look-up. 4 or 16 bytes in network order.
  bool is_local_ipv4(const void* address) const noexcept {
    const LocalAddresses::Answer answer = local_->find_ipv4(address);
    if (answer != LocalAddresses::Answer::kAsk) [[likely]]
      return answer == LocalAddresses::Answer::kYes;
    return at(routes_.find_ipv4(address)).action == NextHop::Action::kLocal;
  }
  bool is_local_ipv6(const void* address) const noexcept {
    const LocalAddresses::Answer answer = local_->find_ipv6(address);
    if (answer != LocalAddresses::Answer::kAsk) [[likely]]
      return answer == LocalAddresses::Answer::kYes;
    return at(routes_.find_ipv6(address)).action == NextHop::Action::kLocal;
  }

 private:
  static const NextHop kUnreachable;
  static const LocalAddresses kAskAlways;
  PrefixView routes_;
  std::span<const NextHop> next_hops_;
  std::span<const NextHopGroup> groups_;
  const LocalAddresses* local_ = &kAskAlways;
  FlowHash flows_;
};

}  // namespace sluice
