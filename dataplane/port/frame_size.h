// How large a buffer a frame needs, the same for packet pools and for the kernel's packet rings.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sluice {

inline constexpr unsigned kLinkHeaderMax = 14 + 2 * 4;  // Ethernet with two VLAN tags

// Bytes for one frame of that MTU and what stands around it: the kernel's header in a packet ring (80 bytes), or
// padding and tag behind a packet being sealed (31). A multiple of 1,024, so that four of them are whole pages.
constexpr unsigned frame_room(uint16_t mtu) { return std::max(2048u, (mtu + kLinkHeaderMax + 80u + 1023u) & ~1023u); }

}  // namespace sluice
