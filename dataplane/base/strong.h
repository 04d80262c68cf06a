// Strong ids: small integers that cannot be mixed up with each other.
#pragma once

#include <compare>
#include <cstdint>

namespace sluice {

template <class Tag, class Integer>
struct StrongId {
  Integer value{};
  constexpr StrongId() = default;
  constexpr explicit StrongId(Integer v) : value(v) {}
  constexpr auto operator<=>(const StrongId&) const = default;
};

using WorkerId = StrongId<struct WorkerTag, uint8_t>;   // 0 .. number of workers - 1; not a CPU number
using PortId = StrongId<struct PortTag, uint16_t>;      // index into the data plane's ports; not DPDK's port number
using TunnelId = StrongId<struct TunnelTag, uint16_t>;  // index into the published tunnels

inline constexpr WorkerId kNoWorker{0xff};
inline constexpr PortId kNoPort{0xffff};
inline constexpr TunnelId kNoTunnel{0xffff};

// A peer's slot in the peer table plus the generation of that slot. Ids may wait in rings: when the peer is gone, or
// its slot belongs to another peer by now, the generation differs and the id misses.
struct PeerId {
  uint32_t slot = 0xffffffff;
  uint32_t generation = 0;
  constexpr auto operator<=>(const PeerId&) const = default;
};

}  // namespace sluice
