// What the stages know of a packet beyond its bytes: lives in the mbuf's private area, written by the stage that learns
// it, read by later ones. Valid within one poll except where said. The bytes: while a stage handles an IP packet,
// rte_pktmbuf_mtod is where its IP header starts; while it handles a WireGuard message (also in the handshake and
// handoff rings), where the message starts, with the outer IP and UDP headers still in place in front of it
// (outer_headers_of).
#pragma once

#include <rte_mbuf.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/base/net.h"
#include "dataplane/base/strong.h"
#include "dataplane/pipeline/drop.h"
#include "dataplane/wire/ip.h"
#include "dataplane/wire/messages.h"

namespace sluice {

struct Peer;
struct ReceivingKey;
struct NextHop;
struct OuterRoute;

// What control does with a packet in the punt ring. kLocal and kLinux: the frame as received, meta.l2_size bytes of
// link-layer header first (0: an IP packet that came out of a tunnel). All others: the IP packet, l2_size 0; those that
// ask for an ICMP error were counted as dropped by the worker, so control just frees them when it is done.
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

// Why an IP packet is here, and so what is done with it.
enum class Origin : uint8_t {
  kNetwork,  // from a port or out of a tunnel. A router's work: check the source, decrement the TTL
  kOurs,     // the gateway's own: neither
  kTunnel,   // Linux has routed it into PacketMeta::tunnel
};

// Where a packet has come from. With its addresses it says all that the tables are asked for (recent_flows.h): eight
// bytes that are written and compared as one.
struct alignas(8) Arrival {
  PortId in_port;   // where it was received; kNoPort: decapsulated or from Linux
  TunnelId tunnel;  // decapsulated from / to be sent into
  WorkerId worker;  // that received it; replies of control go out through this one
  Origin origin;
  Family family;  // of the IP packet
  uint8_t zero;   // no byte of the eight is undefined
  bool operator==(const Arrival& other) const noexcept {
    return std::bit_cast<uint64_t>(*this) == std::bit_cast<uint64_t>(other);
  }
};
static_assert(sizeof(Arrival) == 8);

// What the packets of a burst have in common of it: all but the family, which is kNone here.
class Arrivals {
 public:
  explicit Arrivals(const Arrival& common) noexcept : common_(std::bit_cast<uint64_t>(common)) {}
  Arrival of(Family family) const noexcept {
    constexpr unsigned kShift = 8 * offsetof(Arrival, family);
    static_assert(std::endian::native == std::endian::little);
    return std::bit_cast<Arrival>(common_ | uint64_t{static_cast<uint8_t>(family)} << kShift);
  }

 private:
  uint64_t common_;
};

// What the tables say of an IP packet.
struct FlowVerdict {
  const NextHop* next_hop;     // never nullptr, but of Origin::kTunnel
  uint32_t source_owner;       // out of a tunnel: what its allowed IPs say of the source
  uint32_t destination_owner;  // into a tunnel: the slot of the peer it goes to, PrefixView::kNone: there is none
  uint16_t mtu;                // the largest packet that next_hop takes; UINT16_MAX: nobody knows a limit
  Drop source_fault;           // what a router has against its source; Drop::count_: nothing
  uint32_t version;            // the memory's own (recent_flows.h)
};

// How a frame with a message in it leaves. One word, which is never put together in memory: loads wider than their
// stores wait.
class Leaving {
 public:
  static constexpr uint64_t kOurSum = 1 << 16;    // no port adds up its UDP checksum
  static constexpr uint64_t kTooLarge = 1 << 17;  // for the path: in fragments
  Leaving(PortId port, uint64_t flags) noexcept : word_(port.value | flags) {}
  PortId port() const noexcept { return PortId{static_cast<uint16_t>(word_)}; }
  bool has(uint64_t flag) const noexcept { return (word_ & flag) != 0; }
  bool operator==(const Leaving&) const = default;

 private:
  uint64_t word_;
};

struct PacketMeta {
  // Survive rings (no pointers).
  Arrival from;
  uint16_t l2_size;  // bytes of link-layer header in front of the IP header, still in place (0: none)
  uint16_t mtu;      // PuntReason::kTooBig
  PuntReason punt;
  uint8_t outer_class;  // ECN of the outer packet it came in
  uint8_t outer_size;   // WireGuard messages: bytes of IP and UDP header in front of the message
  PeerId peer;          // kNoEndpoint, staged packets
  union {
    rte_mbuf* next;  // chain of staged packets (owned by the chain)
    // Of a data message on its way in: the part of its UDP checksum (checksum_add) that stands in front of the
    // ciphertext; the cipher adds the rest. 0: the checksum has been verified.
    uint32_t partial_sum;
  };
  // Only within a poll.
  ReceivingKey* key;  // a message on the way in, from find_sessions on
  union {
    uint32_t place;    // an IP packet, from RecentFlows::ask_for on
    FlowVerdict flow;  // an IP packet, from find_flows on
    uint64_t counter;  // a message on the way in, from open_burst on
    struct {           // on the way out, a frame
      const OuterRoute* outer;
      Leaving leaving;
    } way;
  };
};

inline constexpr uint16_t kPacketMetaSize =
    (sizeof(PacketMeta) + 7) & ~size_t{7};  // mempools are made with this priv_size
static_assert(sizeof(PacketMeta) <= 64, "one cache line of the mbuf's private area");

inline PacketMeta& meta(rte_mbuf* m) noexcept { return *static_cast<PacketMeta*>(rte_mbuf_to_priv(m)); }

inline Bytes bytes_of(rte_mbuf* m) noexcept { return {rte_pktmbuf_mtod(m, std::byte*), rte_pktmbuf_data_len(m)}; }

// The packet's bytes grow and shrink; the caller has checked that there is room, or so many. Like rte_pktmbuf_prepend,
// append, adj and trim, which for each call look for the last segment in the mbuf's second cache line: packets here
// have one.
inline std::byte* grow_front(rte_mbuf* m, size_t n) noexcept {
  m->data_off = static_cast<uint16_t>(m->data_off - n);
  m->data_len = static_cast<uint16_t>(m->data_len + n);
  m->pkt_len = m->data_len;
  return rte_pktmbuf_mtod(m, std::byte*);
}
inline void cut_front(rte_mbuf* m, size_t n) noexcept {
  m->data_off = static_cast<uint16_t>(m->data_off + n);
  m->data_len = static_cast<uint16_t>(m->data_len - n);
  m->pkt_len = m->data_len;
}
inline void resize(rte_mbuf* m, size_t n) noexcept {
  m->data_len = static_cast<uint16_t>(n);
  m->pkt_len = m->data_len;
}

// The datagram a WireGuard message came in.
struct OuterHeaders {
  Endpoint remote;  // its source; scope 0 except of a link-local one through a socket
  IpAddress local;  // its destination
  uint16_t local_port = 0;
};
inline OuterHeaders outer_headers_of(rte_mbuf* message) noexcept {
  const auto* ip = rte_pktmbuf_mtod(message, const std::byte*) - meta(message).outer_size;
  const auto* udp = rte_pktmbuf_mtod_offset(message, const UdpHeader*, -static_cast<int>(sizeof(UdpHeader)));
  OuterHeaders headers;
  if (version_of({ip, 1}) == Family::kIpv4) {
    const auto* v4 = reinterpret_cast<const Ipv4Header*>(ip);
    headers = {{IpAddress::ipv4(&v4->source)}, IpAddress::ipv4(&v4->destination)};
  } else {
    const auto* v6 = reinterpret_cast<const Ipv6Header*>(ip);
    headers = {{IpAddress::ipv6(&v6->source)}, IpAddress::ipv6(&v6->destination)};
    headers.remote.scope = extract_scope(headers.remote.address.bytes);
  }
  headers.remote.port = udp->source_port.host();
  headers.local_port = udp->destination_port.host();
  return headers;
}

}  // namespace sluice
