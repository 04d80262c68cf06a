// The root of what control publishes to the workers. Immutable; a change makes a new root that shares what did not
// change. A worker loads the pointer once per poll, so that one poll sees one consistent configuration.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/base/net.h"
#include "dataplane/base/strong.h"
#include "dataplane/forward/fib.h"
#include "dataplane/lookup/prefix_map.h"
#include "dataplane/session/shared_owners.h"

namespace sluice {

struct LivePortCounters;  // port/port_counters.h

struct alignas(64) TunnelView {  // a power of two: looked up for each packet, by a shift
  TunnelId id = kNoTunnel;
  bool up = false;           // admin state of its interface; down: neither sends nor receives
  uint16_t listen_port = 0;  // host order; 0: none
  uint16_t mtu = 1420;
  PortId inner_port = kNoPort;  // what comes out of the tunnel leaves by this port as it is; kNoPort: it is forwarded
  bool mss_clamp = false;       // TCP SYNs in and out are told what fits the MTU
  PrefixView allowed_ips;       // value: peer slot (PeerTable), or kSharedOwners and up
  std::span<const SharedOwners> shared_owners;  // none unless peers share prefixes
  // DSCP of outer data packets, in place as in the traffic class: those bits of the inner one, and these.
  uint8_t dscp_copied = 0, dscp_fixed = 0;
};

enum class ReversePath : uint8_t {  // what a port asks of sources (RFC 3704)
  kAny,
  kRouted,    // a route leads back, any way
  kSamePort,  // it leads back through this port
};

struct PortView {
  PortId id = kNoPort;
  Mac mac;
  uint16_t mtu = 1500;
  TunnelId tunnel = kNoTunnel;  // whose inner_port it is
  ReversePath reverse_path = ReversePath::kAny;
  bool has_ipv4 = true;  // Linux has an IPv4 address on its mirror
  // Whose frames arrive on its cable, by VLAN, [0] for those without one; kNoPort: nobody's. Empty: they are all its
  // own, and none is tagged.
  std::vector<PortId> by_vlan;
  LivePortCounters* arrivals = nullptr;  // Port::arrivals
};

struct Published {
  uint64_t version = 0;  // of two roots that a worker has seen, equal only if they are the same; set by Dataplane
  Fib fib;
  std::vector<TunnelView> tunnels;   // by TunnelId; a removed tunnel leaves an entry that is down
  std::vector<PortView> ports;       // by PortId
  bool checks_reverse_path = false;  // some port does
  bool awaits_leases = false;        // some port has no IPv4 address
  // Listen ports as a bitmap over all 65,536: one load tells whether a UDP packet to us may be WireGuard.
  std::array<uint64_t, 1024> listen_ports{};

  bool is_listen_port(uint16_t port) const noexcept { return (listen_ports[port / 64] >> (port % 64)) & 1; }
  void add_listen_port(uint16_t port) noexcept { listen_ports[port / 64] |= uint64_t{1} << (port % 64); }
};

}  // namespace sluice
