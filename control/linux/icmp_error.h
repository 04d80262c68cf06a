// ICMP and ICMPv6 error messages about packets the gateway could not deliver (RFC 792, RFC 1812 section 4.3, RFC 4443),
// and the rate limit both RFCs ask for. Pure: bytes in, bytes out. Control thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "dataplane/base/net.h"
#include "dataplane/base/token_bucket.h"
#include "dataplane/wire/messages.h"

namespace sluice {

enum class IcmpError : uint8_t {  // IPv4 type/code        IPv6 type/code
  kTimeExceeded,                  // 11/0                  3/0
  kNoRoute,                       // 3/0 net unreachable   1/0 no route to destination
  kHostUnreachable,               // 3/1                   1/3 address unreachable
  kProhibited,                    // 3/13                  1/1
  kTooBig,                        // 3/4 with the MTU      2/0 with the MTU
};

struct IcmpErrorRequest {
  IcmpError error = IcmpError::kNoRoute;
  uint16_t mtu = 0;  // kTooBig: the largest IP packet that fits
  IpAddress source;  // an address of the gateway, of the packet's family (select_source() towards the packet's source)
};

// The whole IP packet to send back to the source of `offending` (from its IP header on; what was received, as far as it
// is there). nullopt when none may be sent: about another ICMP error, a fragment but the first, a packet to or from a
// multicast, broadcast, loopback or unspecified address, a malformed packet, or when `source` is none. Whoever knows
// that the frame was a link-layer broadcast does not call this.
std::optional<std::vector<std::byte>> make_icmp_error(ConstBytes offending, const IcmpErrorRequest& request);

// RFC 4443 section 2.4 (f): 1,000 a second after a burst of 50, as Linux's icmp_msgs_per_sec and icmp_msgs_burst.
inline TokenBucket make_icmp_limiter() { return TokenBucket(1000, 50); }

}  // namespace sluice
