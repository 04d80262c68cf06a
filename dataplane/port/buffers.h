// Packet buffers of ports that read from kernel descriptors: ordinary ones for what a wire carries, and a few of the
// largest size for what a host's own interfaces may (an MTU of up to 65,535).
#pragma once

#include <rte_mbuf.h>

#include <cstddef>
#include <cstdint>

#include "dataplane/port/ethdev.h"

namespace sluice {

// Room that stays free behind a packet: padding and tag of a message.
inline constexpr size_t kTailReserve = 32;

struct Buffers {  // both outlive who uses them
  rte_mempool* usual = nullptr;
  rte_mempool* large = nullptr;  // may be nullptr: what does not fit a usual one is lost

  static size_t room(rte_mempool* pool) noexcept {
    return rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM - kTailReserve;
  }
  // With `size` bytes of data, the whole headroom in front and the reserve behind; nullptr: none left, or none so
  // large.
  rte_mbuf* allocate(size_t size) const noexcept {
    rte_mempool* pool = size <= room(usual) ? usual : large;
    if (pool == nullptr || size > room(pool)) return nullptr;
    rte_mbuf* m = rte_pktmbuf_alloc(pool);
    if (m != nullptr) rte_pktmbuf_append(m, static_cast<uint16_t>(size));
    return m;
  }
};

// The largest an mbuf can be.
Result<PacketPool> make_large_packet_pool(const std::string& name, uint32_t buffers, uint16_t private_size);

}  // namespace sluice
