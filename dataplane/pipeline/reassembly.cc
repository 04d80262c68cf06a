#include "dataplane/pipeline/reassembly.h"

#include <rte_ip.h>
#include <rte_ip_frag.h>
#include <rte_mbuf.h>

#include "dataplane/pipeline/packet.h"
#include "dataplane/wire/ip.h"

namespace sluice {
namespace {

constexpr uint32_t kBuckets = 128, kBucketEntries = 4;  // twice as many entries as packets: few collisions
static_assert(Reassembly::kMaxFragments == RTE_LIBRTE_IP_FRAG_MAX_FRAG);

struct Piece {
  size_t header_size = 0;  // of everything in front of the fragment's data
  size_t size = 0, offset = 0;
  bool more = false;
};

Piece piece_of(ConstBytes packet) noexcept {
  if (version_of(packet) == Family::kIpv4) {
    const auto* ip = reinterpret_cast<const Ipv4Header*>(packet.data());
    const uint16_t field = ip->flags_fragment.host();
    return {ip->header_size(), packet.size() - ip->header_size(), size_t{8} * (field & 0x1fffu), (field & 0x2000) != 0};
  }
  const size_t headers = sizeof(Ipv6Header) + sizeof(Ipv6FragmentHeader);
  if (packet.size() < headers) return {};
  const auto* fragment = reinterpret_cast<const Ipv6FragmentHeader*>(packet.data() + sizeof(Ipv6Header));
  return {headers, packet.size() - headers, fragment->offset(), fragment->more()};
}

// RFC 791, section 3.2; RFC 8200, section 4.5: only the last may end anywhere, and none beyond the longest packet.
bool is_sound(const Piece& piece) noexcept {
  if (piece.size == 0 || (piece.more && piece.size % 8 != 0)) return false;
  return piece.offset + piece.size + piece.header_size <= UINT16_MAX;
}

}  // namespace

bool is_fragment(rte_mbuf* packet) noexcept {
  const ConstBytes bytes = bytes_of(packet);
  if (version_of(bytes) == Family::kIpv4) return reinterpret_cast<const Ipv4Header*>(bytes.data())->is_fragment();
  if (reinterpret_cast<const Ipv6Header*>(bytes.data())->next_header != kProtocolIpv6Fragment) return false;
  const Piece piece = piece_of(bytes);
  return piece.header_size == 0 || piece.offset != 0 || piece.more;  // else whole all the same (RFC 6946)
}

Reassembly::Reassembly(uint32_t max_held, DropCounters& drops)
    : table_(rte_ip_frag_table_create(kBuckets, kBucketEntries, kMaxPackets,
                                      static_cast<uint64_t>(Nanoseconds(kTimeout).count()), SOCKET_ID_ANY)),
      dead_(std::make_unique<rte_ip_frag_death_row>()),
      max_held_(table_ != nullptr ? max_held : 0),
      drops_(drops) {}

Reassembly::~Reassembly() { bury(Drop::fragment_timeout); }

rte_mbuf* Reassembly::add(rte_mbuf* fragment, MonoTime now) noexcept {
  const Piece piece = piece_of(bytes_of(fragment));
  if (!is_sound(piece) || held_ >= max_held_) {
    drops_.add(is_sound(piece) ? Drop::fragments_full : Drop::fragment_malformed);
    rte_pktmbuf_free(fragment);
    return nullptr;
  }
  expire(now);  // so that what the library gives up below is this packet's

  const PacketMeta about = meta(fragment);
  auto* ip = rte_pktmbuf_mtod(fragment, std::byte*);
  rte_pktmbuf_prepend(fragment, about.l2_size);  // moves with the IP header when a fragment header goes
  fragment->l2_len = about.l2_size & 0x7f;
  fragment->l3_len = piece.header_size & 0x1ff;
  const auto time = static_cast<uint64_t>(now.ns);
  ++held_;
  rte_mbuf* whole = version_of({ip, 1}) == Family::kIpv4
                        ? rte_ipv4_frag_reassemble_packet(table_.get(), dead_.get(), fragment, time,
                                                          reinterpret_cast<rte_ipv4_hdr*>(ip))
                        : rte_ipv6_frag_reassemble_packet(
                              table_.get(), dead_.get(), fragment, time, reinterpret_cast<rte_ipv6_hdr*>(ip),
                              reinterpret_cast<rte_ipv6_fragment_ext*>(ip + sizeof(Ipv6Header)));
  // The new one alone: there was no room for another packet. With others: they do not fit each other.
  if (dead_->cnt != 0) bury(dead_->cnt == 1 ? Drop::fragments_full : Drop::fragment_refused);
  if (whole == nullptr) return nullptr;
  held_ -= whole->nb_segs;
  whole = finish(whole);
  if (whole != nullptr) meta(whole) = about;
  return whole;
}

rte_mbuf* Reassembly::finish(rte_mbuf* chain) noexcept {
  if (rte_pktmbuf_linearize(chain) != 0) {
    drops_.add(Drop::frame_too_long);
    rte_pktmbuf_free(chain);
    return nullptr;
  }
  rte_pktmbuf_adj(chain, chain->l2_len);
  chain->ol_flags &= ~uint64_t{RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK};  // were the fragments'
  if (version_of(bytes_of(chain)) == Family::kIpv4) {
    auto* ip = rte_pktmbuf_mtod(chain, Ipv4Header*);
    ip->checksum = ipv4_header_checksum(*ip);
  }
  return chain;
}

void Reassembly::expire(MonoTime now) noexcept {
  while (held_ != 0) {
    rte_ip_frag_table_del_expired_entries(table_.get(), dead_.get(), static_cast<uint64_t>(now.ns));
    if (dead_->cnt == 0) return;
    bury(Drop::fragment_timeout);
  }
}

void Reassembly::bury(Drop reason) noexcept {
  if (dead_->cnt == 0) return;
  drops_.add(reason, dead_->cnt);
  held_ -= dead_->cnt;
  rte_ip_frag_free_death_row(dead_.get(), 0);
}

}  // namespace sluice
