// ICMP's word that one of our data messages was too large for a router on its way (RFC 1191, RFC 8201). Anybody can
// forge one, so it counts only if it quotes a packet we could have sent (RFC 5927, section 7; RFC 8201, section 4): the
// quote has to reach the message's receiver index and counter, which nobody off the path knows, and the packet has to
// be larger than the size said to fit. Routers that quote no more than RFC 792's eight bytes are not believed; over
// IPv4 nothing depends on them (DF is clear but on probes), and ICMPv6 quotes all that fits. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "dataplane/base/net.h"
#include "dataplane/wire/messages.h"

namespace sluice {

struct PathReport {
  Endpoint remote;  // where the quoted message was going
  IpAddress local;  // whence
  uint16_t local_port = 0;
  uint16_t mtu = 0;  // largest IP packet that passes, as the router says; 0: it does not say (RFC 1191, section 4)
  uint32_t receiver_index = 0;
  uint64_t counter = 0;
};

// `packet`: an IP packet to one of our own addresses, its length checked, from its IP header on. nullopt: anything else
// than a sound report about a data message.
std::optional<PathReport> parse_path_report(ConstBytes packet) noexcept;

}  // namespace sluice
