// What the stages know of a packet beyond its bytes: lives in the mbuf's private area, written by the stage that learns
// it, read by later ones. Valid within one poll except where said. The bytes: while a stage handles an IP packet,
// rte_pktmbuf_mtod is where its IP header starts.
#pragma once

#include <rte_mbuf.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/base/net.h"
#include "dataplane/base/strong.h"
#include "dataplane/wire/messages.h"

namespace sluice {

struct Keypair;
struct Peer;
struct NextHop;

enum class PuntReason : uint8_t {
  kLocal,    // for the gateway itself: to the mirror (frame as received) or, decapsulated, to the tunnel's TUN
  kLinux,    // Linux forwards it: to the tunnel's TUN or the port's mirror
  kResolve,  // its next hop needs a neighbour; control asks Linux, sends the packet when resolved, or gives up
  // ICMP errors are due to the packet's source (RFC 792, RFC 4443); control makes them, rate-limited:
  kTtlExceeded,
  kNoRoute,
  kProhibited,
  kTooBig,  // `mtu` is what fits
  kNoPeer,
  kNoEndpoint,
};

struct PacketMeta {
  // Survive rings (no pointers).
  PortId in_port;   // where it was received; kNoPort: decapsulated or from Linux
  TunnelId tunnel;  // decapsulated from / to be sent into
  WorkerId worker;  // that received it; replies of control go out through this one
  PuntReason punt;
  uint8_t outer_ecn;  // of the outer packet it came in
  uint8_t reserved;
  uint16_t mtu;      // kTooBig
  uint16_t l2_size;  // bytes of link-layer header in front of the IP header, still in place (0: none)
  PeerId peer;       // kNoEndpoint, staged packets
  rte_mbuf* next;    // chain of staged packets (owned by the chain)
  // Only within a poll.
  Keypair* keypair;
  Peer* to_peer;
  const NextHop* next_hop;
  uint64_t counter;
};

inline constexpr uint16_t kPacketMetaSize = (sizeof(PacketMeta) + 7) & ~7;  // mempools are made with this priv_size
static_assert(sizeof(PacketMeta) <= 64, "one cache line of the mbuf's private area");

inline PacketMeta& meta(rte_mbuf* m) noexcept { return *static_cast<PacketMeta*>(rte_mbuf_to_priv(m)); }

inline Bytes bytes_of(rte_mbuf* m) noexcept { return {rte_pktmbuf_mtod(m, std::byte*), rte_pktmbuf_data_len(m)}; }

}  // namespace sluice
