// Splits IP packets that are too large for where they go. The slow way round: each fragment is a new buffer.
#pragma once

#include <array>
#include <cstdint>
#include <span>

struct rte_mbuf;
struct rte_mempool;

namespace sluice {

struct Fragments {
  static constexpr unsigned kMax = 32;
  std::array<rte_mbuf*, kMax> packets;
  unsigned count = 0;  // 0: could not be split (no buffer left, too many fragments, MTU below the header's size)
  std::span<rte_mbuf*> all() noexcept { return {packets.data(), count}; }
};

// `packet`: rte_pktmbuf_mtod at its IP header; it stays the caller's. The fragments take over its PacketMeta and
// outlive it.
Fragments fragment_ipv4(rte_mbuf* packet, uint16_t mtu, rte_mempool* pool) noexcept;  // RFC 791, section 3.2
// RFC 8200, section 4.5; only for packets that we are the source of.
Fragments fragment_ipv6(rte_mbuf* packet, uint16_t mtu, uint32_t id, rte_mempool* pool) noexcept;

}  // namespace sluice
