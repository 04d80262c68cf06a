// Who is where around the gateway under test; tests/bench/wire writes the gateway's configuration to match.
//
//   hosts 10.1.1.n --- [lan 10.1.0.1/16  gateway  wan 198.51.100.1/24] --- far end 198.51.100.2, behind it hosts
//   10.2.0.n, reached through the tunnel, and 10.3.0.n, reached past it
#pragma once

#include "tests/bench/frames.h"

namespace sluice::bench {

inline constexpr Mac kGatewayWan{{2, 0, 0, 0, 0, 1}}, kGatewayLan{{2, 0, 0, 0, 0, 2}}, kFarEnd{{2, 0, 0, 0, 0, 9}},
    kNearHost{{2, 0, 0, 0, 1, 0}};
inline constexpr unsigned kHosts = 64;  // on each side
inline constexpr uint16_t kTunnelMtu = 1420;

inline Endpoint gateway_endpoint() { return {ipv4(0xc6336401), 51820}; }
inline Endpoint far_endpoint() { return {ipv4(0xc6336402), 51820}; }
inline Endpoint near_host(uint64_t n) { return {ipv4(0x0a010101 + static_cast<uint32_t>(n % kHosts)), 40000}; }
inline Endpoint far_host(uint64_t n) { return {ipv4(0x0a020001 + static_cast<uint32_t>(n % kHosts)), 5001}; }

inline Endpoint host_past_the_tunnel(uint64_t n) {
  return {ipv4(0x0a030001 + static_cast<uint32_t>(n % kHosts)), 5001};
}

enum class Direction {
  kOutbound,  // lan to tunnel: encapsulation
  kInbound,   // tunnel to lan: decapsulation
  kPast,      // lan to wan as it is: what the ports, and this program, are able to at best
};

}  // namespace sluice::bench
