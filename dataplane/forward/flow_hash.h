// A number that all packets of a flow share, so that they take the same of several ways and keep their order. Workers
// and control.
#pragma once

#include <cstdint>

#include "dataplane/wire/ip.h"

namespace sluice {

// Of a sound IP packet's addresses and protocol, and of its ports where they are in every packet of the flow: not of
// fragments, and not behind IPv6 extension headers.
uint32_t flow_hash(ConstBytes packet) noexcept;

// Of datagrams that the gateway itself sends to `remote`.
uint32_t flow_hash(const Endpoint& remote) noexcept;

}  // namespace sluice
