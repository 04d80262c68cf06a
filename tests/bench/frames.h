// Packets written straight into packet buffers: headers only, the payload is what stood there.
#pragma once

#include <cstddef>

#include "dataplane/base/net.h"
#include "dataplane/wire/messages.h"

namespace sluice::bench {

// IPv4 and UDP headers at the start of `packet`, with right lengths and checksums over what follows.
void write_datagram(Bytes packet, const Endpoint& from, const Endpoint& to);

void write_ethernet(std::byte* at, const Mac& to, const Mac& from);

// 10.1.2.3 is ipv4(0x0a010203).
IpAddress ipv4(uint32_t address);

}  // namespace sluice::bench
