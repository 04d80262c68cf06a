// The forwarding table the workers use: destination -> next hop, as learned from Linux. Control builds it
// (control/linux), publishes it as a value and frees what it replaced after a grace period. Workers only look up.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/base/net.h"
#include "dataplane/base/strong.h"
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
  TunnelId tunnel = kNoTunnel;
  std::array<std::byte, kMaxLinkHeader> l2_header{};
  IpAddress gateway;  // the neighbour; none: the destination itself is on the link
  bool operator==(const NextHop&) const = default;
};

// A value over immutable parts: copy it freely while they live.
class Fib {
 public:
  Fib() = default;
  // `local`: what `routes` lead to kLocal.
  Fib(PrefixView routes, std::span<const NextHop> next_hops, const LocalAddresses& local = kAskAlways)
      : routes_(routes), next_hops_(next_hops), local_(&local) {}

  // Never nullptr: what no route leads to has the action kUnreachable.
  const NextHop& find(const IpAddress& destination) const noexcept { return at(routes_.find(destination)); }
  const NextHop& at(uint32_t value) const noexcept {
    return value < next_hops_.size() ? next_hops_[value] : kUnreachable;
  }
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
  const LocalAddresses* local_ = &kAskAlways;
};

}  // namespace sluice
