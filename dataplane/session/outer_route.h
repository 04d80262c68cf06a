// How a peer's outer packets leave: the prebuilt outer header and the port. Immutable once published; made by control
// from the peer's endpoint, the routes and the neighbours, replaced as a whole when any of them changes, freed after a
// grace period.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "dataplane/base/net.h"
#include "dataplane/base/strong.h"
#include "dataplane/wire/ip.h"

namespace sluice {

// Ordered by who meets what: who checks where a packet came from the first line, who sends the second one, over IPv6
// also the third.
struct alignas(64) OuterRoute {
  enum class State : uint8_t {
    kReady,       // header and port are valid
    kUnresolved,  // the next hop's link-layer address is being asked for: packets are staged
    kNoRoute,     // nothing leads there: packets are dropped by name
  };

  Endpoint remote;
  IpAddress local;  // source of outer packets

  alignas(64) State state = State::kNoRoute;
  bool by_socket = false;  // Linux routes it: the header is IP and UDP, of which only addresses and ports matter
  PortId port = kNoPort;
  uint16_t mtu = 0;                 // of the path to the endpoint, as far as it is known (IP packet size); 0: it is not
  uint16_t inner_mtu = UINT16_MAX;  // what a message on that path holds
  uint8_t header_size = 0;          // Ethernet + IP + UDP
  uint8_t l3_offset = 0;            // where IP starts in the header
  // Sums (checksum_add, folded) of what does not change: the IPv4 header as it stands below, and the UDP pseudo
  // header's addresses and protocol plus the two UDP ports.
  uint16_t ipv4_sum = 0;
  uint16_t udp_sum = 0;
  // Ethernet, IP and UDP with everything but the lengths, TOS/traffic class and checksums filled in (those are zero).
  // The array is longer than the longest, so that it can be copied in pieces of 16 bytes.
  std::array<std::byte, (kMaxOuterHeaders + 15) / 16 * 16> header{};

  static void* operator new(size_t);  // from a slab
  static void operator delete(void* route) noexcept;
};
static_assert(sizeof(OuterRoute) == 192);

// Adds the IP and the UDP header of packets from route.local (none: all zero) to route.remote to the route's header.
void append_datagram_headers(OuterRoute& route, uint16_t listen_port) noexcept;

// The way through the host's own sockets (port/udp_socket.h); it is always ready. `local` none, or of the other family:
// Linux chooses.
OuterRoute socket_route(PortId port, const Endpoint& remote, const IpAddress& local, uint16_t listen_port) noexcept;

}  // namespace sluice
