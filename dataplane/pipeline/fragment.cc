#include "dataplane/pipeline/fragment.h"

#include <rte_ip_frag.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>

#include "dataplane/pipeline/packet.h"
#include "dataplane/wire/ip.h"

namespace sluice {
namespace {

// One fragment: the packet's IPv6 header, a fragment header, `size` bytes of its payload from `offset` on.
rte_mbuf* ipv6_fragment(ConstBytes packet, size_t offset, size_t size, uint32_t id, rte_mempool* pool) noexcept {
  rte_mbuf* m = rte_pktmbuf_alloc(pool);
  if (m == nullptr) return nullptr;
  const size_t headers = sizeof(Ipv6Header) + sizeof(Ipv6FragmentHeader);
  auto* at = reinterpret_cast<std::byte*>(rte_pktmbuf_append(m, static_cast<uint16_t>(headers + size)));
  if (at == nullptr) {
    rte_pktmbuf_free(m);
    return nullptr;
  }
  const size_t whole = packet.size() - sizeof(Ipv6Header);
  std::memcpy(at, packet.data(), sizeof(Ipv6Header));
  auto* ip = reinterpret_cast<Ipv6Header*>(at);
  auto* fragment = reinterpret_cast<Ipv6FragmentHeader*>(ip + 1);
  *fragment = {.next_header = ip->next_header, .reserved = 0};
  fragment->offset_more = static_cast<uint16_t>(offset | (offset + size < whole ? 1 : 0));
  fragment->id = id;
  ip->next_header = kProtocolIpv6Fragment;
  ip->payload_length = static_cast<uint16_t>(sizeof *fragment + size);
  std::memcpy(at + headers, packet.data() + sizeof(Ipv6Header) + offset, size);
  return m;
}

}  // namespace

Fragments fragment_ipv4(rte_mbuf* packet, uint16_t mtu, rte_mempool* pool) noexcept {
  Fragments fragments;
  if (mtu < rte_pktmbuf_mtod(packet, const Ipv4Header*)->header_size() + 8) return fragments;
  const int n = rte_ipv4_fragment_copy_nonseg_packet(packet, fragments.packets.data(), Fragments::kMax, mtu, pool);
  if (n <= 0) return fragments;
  fragments.count = static_cast<unsigned>(n);
  for (rte_mbuf* m : fragments.all()) {
    meta(m) = meta(packet);
    auto* ip = rte_pktmbuf_mtod(m, Ipv4Header*);
    ip->checksum = ipv4_header_checksum(*ip);
  }
  return fragments;
}

Fragments fragment_ipv6(rte_mbuf* packet, uint16_t mtu, uint32_t id, rte_mempool* pool) noexcept {
  Fragments fragments;
  const ConstBytes bytes = bytes_of(packet);
  const size_t headers = sizeof(Ipv6Header) + sizeof(Ipv6FragmentHeader);
  if (mtu < headers + 8) return fragments;
  const size_t room = (mtu - headers) & ~size_t{7}, whole = bytes.size() - sizeof(Ipv6Header);
  if ((whole + room - 1) / room > Fragments::kMax) return fragments;
  for (size_t offset = 0; offset < whole; offset += room) {
    rte_mbuf* m = ipv6_fragment(bytes, offset, std::min(room, whole - offset), id, pool);
    if (m == nullptr) {
      rte_pktmbuf_free_bulk(fragments.packets.data(), fragments.count);
      return {};
    }
    meta(m) = meta(packet);
    fragments.packets[fragments.count++] = m;
  }
  return fragments;
}

}  // namespace sluice
