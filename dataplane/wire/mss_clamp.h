// TCP connections through a tunnel are told at their start how large a segment fits it, so that they need no path MTU
// discovery (which firewalls break). Pure.
#pragma once

#include <cstdint>

#include "dataplane/wire/messages.h"

namespace sluice {

// `packet`: an IP packet, its first header of full length. If it is a SYN (with ACK or without) that asks for larger
// segments than fit `mtu` behind an IP and a TCP header without options (RFC 6691), the maximum segment size in it is
// lowered to that and the TCP checksum adjusted; it is never raised and never added. Fragments, and segments whose
// options are malformed before the one looked for, stay as they are.
void clamp_mss(Bytes packet, uint16_t mtu) noexcept;

}  // namespace sluice
