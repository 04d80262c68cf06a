// How large a packet reaches a peer (path_mtu.h): what routers report and what probes find narrows the peer's outer
// route; from there workers know what to fragment and of what to complain to the inner sender.
//
// A probe is an ordinary ICMP echo request to the peer's own address in the tunnel, followed by as much WireGuard
// padding as makes the outer packet the size in question, DF set. Every implementation cuts padding off, whatever its
// length, so the answer is a small echo reply and measures our direction alone. A padded keepalive would not do: an
// empty message is never padded, and nothing answers it.
#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>

#include "control/wg/path_report.h"
#include "control/wg/wireguard.h"
#include "dataplane/pipeline/packet.h"
#include "dataplane/wire/ip.h"
#include "dataplane/wire/limits.h"

namespace sluice {
namespace {

constexpr uint64_t kPacketsThatMakeItBusy = 8;  // between two looks; less is keepalives and our own probes

struct EchoHeader {
  uint8_t type, code;
  be16 checksum, id, sequence;
};
struct ProbeEcho {  // both families
  EchoHeader icmp;
  std::array<std::byte, 8> cookie;  // of this process: not to be mistaken for anybody else's ping
  be32 slot, generation;            // the peer
};
static_assert(sizeof(ProbeEcho) == 24);

constexpr uint8_t kEchoRequest4 = 8, kEchoReply4 = 0, kEchoRequest6 = 128, kEchoReply6 = 129;
constexpr uint16_t kEchoId = 0x5c1c;

size_t overhead(const OuterRoute& route) { return size_t{route.header_size} - route.l3_offset + kDataOverhead; }

bool is_host(const Prefix& prefix) { return prefix.length == prefix.address.bits(); }

// Who asks whom, inside the tunnel: an address that is the peer's alone, and one of ours of the same family.
struct ProbeEnds {
  IpAddress from, to;
};
std::optional<ProbeEnds> probe_ends(const PeerControl& peer) {
  for (const Prefix& prefix : peer.tunnel->allowed_ips(peer)) {
    if (!is_host(prefix)) continue;
    for (const IpAddress& own : peer.tunnel->addresses()) {
      const bool usable = own.family == prefix.address.family && !own.is_link_local() && own != prefix.address;
      if (usable) return ProbeEnds{own, prefix.address};
    }
  }
  return std::nullopt;
}

template <class Header>
void fill_ip(Header& ip, const ProbeEnds& ends) {
  const size_t size = sizeof ip + sizeof(ProbeEcho);
  if constexpr (std::is_same_v<Header, Ipv4Header>) {
    ip.version_ihl = 0x45;
    ip.total_length = static_cast<uint16_t>(size);
    ip.flags_fragment = uint16_t{0x4000};
    ip.ttl = kDefaultHopLimit;
    ip.protocol = kProtocolIcmp;
    std::copy_n(ends.from.bytes.begin(), ip.source.size(), ip.source.begin());
    std::copy_n(ends.to.bytes.begin(), ip.destination.size(), ip.destination.begin());
    ip.checksum = ipv4_header_checksum(ip);
  } else {
    ip.version_class_flow = 6u << 28;
    ip.payload_length = static_cast<uint16_t>(sizeof(ProbeEcho));
    ip.next_header = kProtocolIcmpv6;
    ip.hop_limit = kDefaultHopLimit;
    ip.source = ends.from.bytes;
    ip.destination = ends.to.bytes;
  }
}

// `packet` is zero; what stays zero behind the echo request is padding.
void write_probe(Bytes packet, const ProbeEnds& ends, ProbeEcho echo) {
  const bool ipv4 = ends.to.is_ipv4();
  const size_t l3_size = ipv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
  if (ipv4)
    fill_ip(*reinterpret_cast<Ipv4Header*>(packet.data()), ends);
  else
    fill_ip(*reinterpret_cast<Ipv6Header*>(packet.data()), ends);
  echo.icmp.type = ipv4 ? kEchoRequest4 : kEchoRequest6;
  const ConstBytes bytes = std::as_bytes(std::span(&echo, 1));
  echo.icmp.checksum =
      ipv4 ? checksum_fold(checksum_add(bytes)) : transport_checksum(ends.from, ends.to, kProtocolIcmpv6, bytes);
  std::memcpy(packet.data() + l3_size, &echo, sizeof echo);
}

// The echo reply in a packet that came out of a tunnel, if it may be one to a probe.
const ProbeEcho* probe_reply(ConstBytes packet) {
  const bool ipv4 = version_of(packet) == Family::kIpv4;
  const size_t l3_size = ipv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
  if (packet.size() != l3_size + sizeof(ProbeEcho)) return nullptr;
  const uint8_t protocol = ipv4 ? reinterpret_cast<const Ipv4Header*>(packet.data())->protocol
                                : reinterpret_cast<const Ipv6Header*>(packet.data())->next_header;
  const auto* echo = reinterpret_cast<const ProbeEcho*>(packet.data() + l3_size);
  const bool reply = ipv4 ? protocol == kProtocolIcmp && echo->icmp.type == kEchoReply4
                          : protocol == kProtocolIcmpv6 && echo->icmp.type == kEchoReply6;
  return reply && echo->icmp.id.host() == kEchoId ? echo : nullptr;
}

// A packet that the quote could be of: one of the peer's keypairs has used that counter.
bool could_have_sent(const PeerControl& peer, const PathReport& report) {
  const auto fits = [&](const std::unique_ptr<Keypair>& keypair) {
    return keypair && keypair->sending->remote_index == report.receiver_index &&
           report.counter < keypair->sending->counter.load(std::memory_order_relaxed);
  };
  return peer.contact && (fits(peer.contact->current) || fits(peer.contact->previous));
}

}  // namespace

// --- what is known goes into the outer route ---

// `fresh`: as Linux has it. Another way may be of another width: what was learned of the old one is forgotten.
void Wireguard::limit_by_path(PeerControl& peer, OuterRoute& fresh) {
  const OuterRoute* old = peer.shared->outer.load(std::memory_order_relaxed);
  const bool other_way = old && (old->remote.address != fresh.remote.address || old->local != fresh.local ||
                                 old->port != fresh.port || peer.path.route != fresh.mtu);
  if (peer.path.route != fresh.mtu) route_mtus_changed_ = true;
  peer.path.route = fresh.mtu;
  if (other_way) {
    peer.path.forget_report();
    if (peer.path.search.running()) peer.path.search.start(fresh.mtu, now());
    schedule_path(peer);
  }
  fresh.mtu = peer.path.limit();
  if (fresh.mtu > overhead(fresh)) fresh.inner_mtu = static_cast<uint16_t>(fresh.mtu - overhead(fresh));
}

void Wireguard::schedule_path(PeerControl& peer) {
  const MonoTime deadline = peer.path.deadline();
  if (peer.path_deadline == deadline) return;
  const uint32_t slot = peer.shared->id.slot;
  if (!peer.path_deadline.is_never()) path_deadlines_.erase({peer.path_deadline, slot});
  peer.path_deadline = deadline;
  if (!deadline.is_never()) path_deadlines_.emplace(deadline, slot);
}

void Wireguard::evaluate_path(PeerControl& peer) {
  const MonoTime t = now();
  PathSearch& search = peer.path.search;
  peer.path.expire(t);
  if (!search.deadline().is_never() && t >= search.deadline()) {
    const Keypair* current = peer.current();
    const bool keyless = current == nullptr || t - current->birth() >= kRejectAfterTime;
    const uint64_t packets = keyless ? 0 : current->sending->counter.load(std::memory_order_relaxed);
    const uint64_t fresh = packets >= peer.path_packets ? packets - peer.path_packets : packets;  // or a fresh session
    const bool idle = search.settled() && fresh < kPacketsThatMakeItBusy;
    peer.path_packets = packets;
    if (idle || keyless) {
      search.postpone(t);
    } else if (const auto probe = search.evaluate(t); probe && !send_probe(peer, *probe)) {
      search.stop();  // there is nobody to ask
    }
  }
  schedule_path(peer);
  update_outer(peer);
}

// --- probes ---

void Wireguard::start_path_search(PeerControl& peer) {
  if (!peer.tunnel->path_mtu_probe() || peer.path.search.running()) return;
  peer.path.search.start(peer.path.route, now());
  schedule_path(peer);
}

void Wireguard::stop_path_search(PeerControl& peer) {
  peer.path.search.stop();
  schedule_path(peer);
  update_outer(peer);
}

// False: neither now nor later.
bool Wireguard::send_probe(PeerControl& peer, PathSearch::Probe probe) {
  const OuterRoute* route = peer.shared->outer.load(std::memory_order_relaxed);
  const auto ends = probe_ends(peer);
  if (!route || !ends) return false;
  rte_mbuf* packet = rte_pktmbuf_alloc(parts_.dataplane.pool());
  if (!packet) {
    drop(Drop::no_buffer);
    return true;
  }
  const auto size = static_cast<uint16_t>(probe.size - overhead(*route));
  char* at = rte_pktmbuf_append(packet, size);
  if (!at) {
    rte_pktmbuf_free(packet);
    return false;
  }
  std::memset(at, 0, size);
  while (probe_cookie_ == 0) parts_.rng.fill(std::as_writable_bytes(std::span(&probe_cookie_, 1)));
  ProbeEcho echo{};
  echo.icmp.id = kEchoId;
  echo.icmp.sequence = probe.sequence;
  std::memcpy(echo.cookie.data(), &probe_cookie_, sizeof probe_cookie_);
  echo.slot = peer.shared->id.slot;
  echo.generation = peer.shared->id.generation;
  write_probe({reinterpret_cast<std::byte*>(at), size}, *ends, echo);

  Command command{};
  command.kind = CommandKind::kProbe;
  command.peer = peer.shared->id;
  command.packet = packet;
  if (parts_.dataplane.mailbox(peer.home).post_command(command)) return true;
  rte_pktmbuf_free(packet);
  drop(Drop::inbox_full);
  return true;
}

bool Wireguard::on_probe_answer(TunnelId tunnel, ConstBytes packet) {
  const ProbeEcho* echo = probe_reply(packet);
  if (!echo || probe_cookie_ == 0 || std::memcmp(echo->cookie.data(), &probe_cookie_, sizeof probe_cookie_) != 0)
    return false;
  PeerControl* peer = find_peer({echo->slot.host(), echo->generation.host()});
  if (!peer || peer->tunnel->id() != tunnel) return true;  // removed meanwhile
  peer->path.search.on_answer(echo->icmp.sequence.host(), now());
  schedule_path(*peer);
  update_outer(*peer);
  return true;
}

// --- what is overheard ---

bool Wireguard::overhear(const PacketMeta& about, ConstBytes ip_packet) {
  if (about.from.in_port == kNoPort) return on_probe_answer(about.from.tunnel, ip_packet);
  on_path_report(ip_packet);
  return false;
}

void Wireguard::on_path_report(ConstBytes packet) {
  const auto report = parse_path_report(packet);
  if (!report || !path_reports_.take(now())) return;
  for (PeerControl* peer : by_slot_) {
    if (!peer || peer->tunnel->listen_port() != report->local_port) continue;
    const OuterRoute* route = peer->shared->outer.load(std::memory_order_relaxed);
    if (!route || route->local != report->local || route->remote.address != report->remote.address ||
        route->remote.port != report->remote.port || !could_have_sent(*peer, *report))
      continue;
    if (!peer->path.lower(report->mtu, report->local.family, now())) return;
    schedule_path(*peer);
    return update_outer(*peer);
  }
}

}  // namespace sluice
