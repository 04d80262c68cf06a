// Receive side scaling: which hash functions spread what a port receives over its queues. Both sides of a gateway want
// the same: inner flows on a LAN and peers on a WAN by addresses and, of what has them, ports, over IPv4 and IPv6.
// Fragments have none and go by their addresses.
#pragma once

#include <rte_ethdev.h>

#include <cstdint>

namespace sluice {

// RTE_ETH_RSS_*: as much of it as the driver offers. 0: it cannot spread.
constexpr uint64_t rss_functions(uint64_t offered) noexcept {
  return offered & (RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_SCTP);
}

}  // namespace sluice
