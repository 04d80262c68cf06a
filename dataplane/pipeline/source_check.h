// What a router has against a packet's source.
#pragma once

#include "dataplane/pipeline/context.h"

namespace sluice {

// Sources that cannot be a host on the wire (RFC 1812, section 5.3.7; RFC 4291), among them our own addresses: nothing
// may ever be answered to them. And those to which no route leads back that the port believes (RFC 3704; packets out of
// tunnels have been asked more by their peer's allowed IPs). Drop::count_: nothing wrong.
Drop source_fault(const WorkerContext& context, rte_mbuf* m) noexcept;

// A router never passes on what comes from a link-local address (RFC 4291, section 2.5.6).
bool is_ipv6_link_local_source(rte_mbuf* m) noexcept;

}  // namespace sluice
