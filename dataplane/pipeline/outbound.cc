// IP packets to WireGuard messages, in the order of protocol.md section 7b:
//   encapsulate    the peer that find_flows has found; MSS of what goes to it; its current keypair, or staged until
//                  there is one; what was staged goes first; what is too large for the path to the peer. Counters: one
//                  add per run of packets to one peer; padding, message header, outer headers, what the port needs to
//                  add up the UDP checksum; the cipher's jobs; stamps and counters of the peer
//   seal_burst     encrypt, one engine call; while this worker is saturated, others take part (spread.h)
//   finish_outer   UDP checksums that no port adds up; out of the port
#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>

#include "dataplane/base/prefetch.h"
#include "dataplane/pipeline/fragment.h"
#include "dataplane/pipeline/line.h"
#include "dataplane/pipeline/peer_activity.h"
#include "dataplane/pipeline/punt.h"
#include "dataplane/pipeline/spread.h"
#include "dataplane/pipeline/staged.h"
#include "dataplane/pipeline/stages.h"
#include "dataplane/pipeline/transmit.h"
#include "dataplane/wire/ip.h"
#include "dataplane/wire/limits.h"
#include "dataplane/wire/messages.h"

namespace sluice {
namespace {

// --- Peers ---

// Consecutive packets to one peer; nullptr: there is none.
struct ToPeer {
  Peer* peer;
  rte_mbuf** first;
  size_t count;
  std::span<rte_mbuf*> packets() const noexcept { return {first, count}; }
};

// Of a route's headers, what lies in the line of its state. IPv4's do.
constexpr size_t kHeaderInFirstLine = 64 - (offsetof(OuterRoute, header) - offsetof(OuterRoute, state));
static_assert(kHeaderInFirstLine >= sizeof(EthernetHeader) + sizeof(Ipv4Header) + sizeof(UdpHeader));

uint32_t owner_of(rte_mbuf* m) noexcept { return meta(m).flow.destination_owner; }

// The peers of a burst, whose lines find_flows has asked for, and what is read and written on the way to them, asked
// for while it is the turn of those before them: with many peers none of it is in the cache, and all of it at once is
// more than a core can have under way. In groups, because some cores go on behind a prefetch only when its page is
// translated: translations that are asked for one after the other overlap.
class ToPeers {
 public:
  // `long_headers`: they are to be expected.
  ToPeers(const PeerTable& table, std::span<rte_mbuf*> packets, bool long_headers) noexcept
      : long_headers_(long_headers) {
    for_each_run(packets, owner_of, [&](std::span<rte_mbuf*> run) {
      runs_[count_++] = {table.at(owner_of(run[0])), run.data(), run.size()};
    });
    prefetch(0, kAhead);
  }
  // each(ToPeer), in order.
  template <class Each>
  void for_each(Each each) const noexcept {
    for (unsigned i = 0; i < count_; ++i) {
      if (i % kGroup == 0) prefetch(i + kAhead, i + kAhead + kGroup);
      each(runs_[i]);
    }
  }

 private:
  static constexpr unsigned kAhead = 16, kGroup = 4;

  void prefetch(unsigned first, unsigned end) const noexcept {
    for (unsigned i = first; i < std::min(end, count_); ++i) prefetch(runs_[i]);
  }
  void prefetch(const ToPeer& to) const noexcept {
    if (to.peer == nullptr) return;
    prefetch_far(to.peer->current.load(std::memory_order_acquire));  // of nullptr: harmless
    if (const OuterRoute* outer = to.peer->outer.load(std::memory_order_acquire)) {
      prefetch_far(&outer->state);
      if (long_headers_) [[unlikely]]
        prefetch_far(outer->header.data() + kHeaderInFirstLine);
    }
    for (rte_mbuf* m : to.packets()) prefetch_edges(m);
  }
  // Where outer headers and the tag will be written: nobody has touched those lines since the packet came.
  static void prefetch_edges(rte_mbuf* m) noexcept {
    constexpr size_t kHeaders = sizeof(EthernetHeader) + sizeof(Ipv4Header) + sizeof(UdpHeader) + sizeof(DataHeader);
    const auto* packet = rte_pktmbuf_mtod(m, const std::byte*);
    prefetch_lines(packet - kHeaders);
    prefetch_lines(packet + rte_pktmbuf_data_len(m) + kTagSize);
  }

  ToPeer runs_[kMaxBurst];
  unsigned count_ = 0;
  const bool long_headers_;
};

void stage(WorkerContext& context, const Peer& peer, rte_mbuf* m) noexcept {
  meta(m).peer = peer.id;
  context.staged->add(peer.id, m);
}

void reject_unowned(WorkerContext& context, std::span<rte_mbuf*> packets) noexcept {
  for (rte_mbuf* m : packets) {
    if (tunnel_that_is_up(*context.published, meta(m).from.tunnel) == nullptr) {
      context.drop(m, Drop::tunnel_down);
    } else {
      context.punts->reject(m, PuntReason::kNoPeer, Drop::no_peer, context.now);
    }
  }
}

// --- Key and way ---

// How packets for a peer leave at this moment. Chosen once per run of packets, so that all of them share it.
struct Way {
  Drop obstacle = Drop::count_;       // count_: none
  uint32_t serial = 0;                // of `outer`, or of an earlier one
  const OuterRoute* outer = nullptr;  // nullptr, or not ready: wait
  SendingKey* key = nullptr;          // nullptr: none to send under, wait
  bool open() const noexcept { return key != nullptr && outer->state == OuterRoute::State::kReady; }
};

SendingKey* usable_key(const WorkerContext& context, const Peer& peer) noexcept {
  SendingKey* key = peer.current.load(std::memory_order_acquire);
  if (key == nullptr || !key->usable.load(std::memory_order_relaxed)) return nullptr;
  if (context.now - key->birth >= kRejectAfterTime) return nullptr;
  return key->counter.load(std::memory_order_relaxed) < kRejectAfterMessages ? key : nullptr;
}

[[gnu::always_inline]] inline Way choose_way(WorkerContext& context, const TunnelView& tunnel, Peer& peer) noexcept {
  Way way;
  way.serial = peer.outer_serial.load(std::memory_order_acquire);
  way.outer = peer.outer.load(std::memory_order_acquire);
  if (!tunnel.up) {
    way.obstacle = Drop::tunnel_down;
  } else if (way.outer == nullptr) {
    way.obstacle = Drop::no_endpoint;
  } else if (way.outer->state == OuterRoute::State::kNoRoute) {
    way.obstacle = Drop::no_outer_route;
  } else {
    way.key = usable_key(context, peer);
    if (way.key == nullptr) post_once(context, peer, EventKind::kNeedHandshake);
  }
  return way;
}

// Where the peer has been heard from since its way was made, if control does not know yet: what answers a packet must
// not go where it did not come from. Only the worker that hears of it knows, and only a way that Linux routes can be
// made here.
// nullptr: it has not moved.
const Keypair* moved_session(const WorkerContext& context, const Peer& peer, const Way& way) noexcept {
  if (!way.outer->by_socket) return nullptr;
  const Keypair* session = context.peers->rest_of(peer).session.load(std::memory_order_acquire);
  if (session == nullptr || session->sending.get() != way.key || session->receiving.owner != context.id) return nullptr;
  const auto& reported = session->reported;
  return reported.serial == way.serial && !reported.source.is_none() ? session : nullptr;
}

// --- Framing ---

// Adds to what all workers add to, and gives what it was. Relaxed; and alone there is no need for an instruction that
// waits until all stores before it are done.
uint64_t add(const WorkerContext& context, std::atomic<uint64_t>& counter, uint64_t n) noexcept {
  if (context.worker_count != 1) return counter.fetch_add(n, std::memory_order_relaxed);
  const uint64_t before = counter.load(std::memory_order_relaxed);
  counter.store(before + n, std::memory_order_relaxed);
  return before;
}

// Packets under one key that have counters, the first one's and on.
struct Numbered {
  std::span<rte_mbuf*> packets;
  uint64_t first;
};

// Used up while we chose: what has no number waits for the next keypair. (2^13 numbers lie between the limit and an
// overflow of the counter, more than all workers can take before they see the limit.)
[[gnu::noinline]] Numbered stage_unnumbered(WorkerContext& context, Peer& peer, Numbered wanted) noexcept {
  const size_t numbered = wanted.first < kRejectAfterMessages ? kRejectAfterMessages - wanted.first : 0;
  for (rte_mbuf* m : wanted.packets.subspan(numbered)) {
    post_once(context, peer, EventKind::kNeedHandshake);
    stage(context, peer, m);
  }
  return {wanted.packets.first(numbered), wanted.first};
}

[[gnu::always_inline]] inline Numbered reserve_nonces(WorkerContext& context, Peer& peer, SendingKey& key,
                                                      std::span<rte_mbuf*> run) noexcept {
  // Relaxed: the numbers only have to be different. They are in the order in which the packets leave this worker.
  const uint64_t first = add(context, key.counter, run.size());
  if (first + run.size() <= kRejectAfterMessages) [[likely]]
    return {run, first};
  return stage_unnumbered(context, peer, {run, first});
}

// A packet with too little room around it moves to a buffer of its own. nullptr: dropped.
rte_mbuf* move_to_room(WorkerContext& context, rte_mbuf* m, uint16_t head, uint16_t tail) noexcept {
  const uint16_t size = rte_pktmbuf_data_len(m);
  rte_mbuf* copy = rte_pktmbuf_alloc(context.pool);
  const bool fits = copy != nullptr && size_t{copy->buf_len} >= size_t{head} + size + tail;
  if (fits) {
    copy->data_off = head;
    std::memcpy(rte_pktmbuf_append(copy, size), rte_pktmbuf_mtod(m, void*), size);
    meta(copy) = meta(m);
    rte_pktmbuf_free(m);
    return copy;
  }
  context.drop(m, copy == nullptr ? Drop::no_buffer : Drop::no_headroom);
  rte_pktmbuf_free(copy);
  return nullptr;
}

rte_mbuf* with_room(WorkerContext& context, rte_mbuf* m, uint16_t head, uint16_t tail) noexcept {
  if (rte_pktmbuf_headroom(m) >= head && rte_pktmbuf_tailroom(m) >= tail) [[likely]]
    return m;
  return move_to_room(context, m, head, tail);
}

// Whether its port adds up the UDP checksums of frames that fit.
bool port_adds_up(const WorkerContext& context, const OuterRoute& outer) noexcept {
  return context.transmit->offloads(outer.port).udp_checksum;
}

// The start of a message's header, the same in all under one key.
uint64_t message_start(uint32_t receiver_index) noexcept {
  const DataHeader header{
      .type = le32(static_cast<uint32_t>(MessageType::kData)), .receiver_index = le32(receiver_index), .counter = {}};
  uint64_t start;
  static_assert(sizeof start == offsetof(DataHeader, counter));
  std::memcpy(&start, &header, sizeof start);
  return start;
}

// A word of 64 bits as checksum_add would sum it, but not folded.
constexpr uint64_t halves(uint64_t word) noexcept { return (word >> 32) + (word & UINT32_MAX); }

// What the packets of a run have in common on their way out.
struct Wrapping {
  Wrapping(const WorkerContext& context, const TunnelView& on, const SendingKey& under, const OuterRoute& over) noexcept
      : outer(over),
        key(under),
        tunnel(on),
        start(message_start(key.remote_index)),
        sum(outer.udp_sum + halves(start)),
        limit(std::min(tunnel.mtu, outer.inner_mtu)),
        too_large(outer.inner_mtu + size_t{1}),
        not_added_up(port_adds_up(context, outer) ? too_large : 0),
        leaving(outer.port, not_added_up == 0 ? Leaving::kOurSum : 0),
        leaving_too_large(outer.port, Leaving::kOurSum | Leaving::kTooLarge),
        header_size(outer.header_size),
        l3_headers(header_size - outer.l3_offset) {}
  const OuterRoute& outer;
  const SendingKey& key;
  const TunnelView& tunnel;
  const uint64_t start;
  const uint64_t sum;    // of the pseudo header and all in front of the text but for length and counter
  const uint16_t limit;  // of the inner packet and its padding
  // From these sizes of its text on a message is too large for the path, and its UDP checksum not added up by its port.
  const size_t too_large, not_added_up;
  const Leaving leaving, leaving_too_large;
  const size_t header_size, l3_headers;
};

// The prebuilt headers, in pieces of a known size: what is too much lies where the message header comes.
[[gnu::always_inline]] inline void copy_outer_headers(std::byte* to, const OuterRoute& outer) noexcept {
  constexpr size_t kPiece = 16, kLeast = sizeof(Ipv4Header) + sizeof(UdpHeader);  // a socket's
  static_assert(kPiece <= sizeof(DataHeader) && sizeof outer.header % kPiece == 0);
  size_t at = 0;
  for (; at < kLeast; at += kPiece) std::memcpy(to + at, outer.header.data() + at, kPiece);
  for (; at < outer.header_size; at += kPiece) std::memcpy(to + at, outer.header.data() + at, kPiece);
}

[[gnu::always_inline]] inline void fill_ipv4(WorkerContext& context, std::byte* at, const OuterRoute& outer,
                                             uint8_t tos, size_t size) noexcept {
  auto& ip = *reinterpret_cast<Ipv4Header*>(at);
  const be16 total_length(static_cast<uint16_t>(size)), id(context.outer_id);
  context.outer_id = static_cast<uint16_t>(context.outer_id + context.worker_count);
  ip.tos = tos;
  ip.total_length = total_length;
  ip.id = id;
  const uint32_t sum = outer.ipv4_sum + checksum_word(be16(tos)) + checksum_word(total_length) + checksum_word(id);
  ip.checksum = checksum_fold(sum);
}

void fill_ipv6(std::byte* at, uint8_t traffic_class, size_t size) noexcept {
  auto& ip = *reinterpret_cast<Ipv6Header*>(at);
  ip.version_class_flow = ip.version_class_flow.host() | uint32_t{traffic_class} << 20;
  ip.payload_length = static_cast<uint16_t>(size - sizeof ip);
}

UdpHeader& udp_header_of(const SealJob& job) noexcept {
  return *reinterpret_cast<UdpHeader*>(job.text.data() - sizeof(DataHeader) - sizeof(UdpHeader));
}

// Member by member: as a whole it would be put together on the stack, and loads wider than their stores wait.
[[gnu::always_inline]] inline void lay_out(SealJob& job, const Secret<32>& key, uint64_t nonce, Bytes text,
                                           uint64_t sum) noexcept {
  job.key = &key;
  job.nonce = nonce;
  job.text = text;
  job.tag = text.data() + text.size();
  job.sum = checksum_fold_to_32(sum);
}

// From an IP packet (or nothing: a keepalive) to a frame that lacks the cipher, and the UDP checksum: in the job is the
// sum of all in front of the text.
[[gnu::always_inline]] inline rte_mbuf* frame(WorkerContext& context, rte_mbuf* m, const Wrapping& with,
                                              uint64_t counter, size_t padded, uint8_t traffic_class,
                                              SealJob& job) noexcept {
  const size_t size = rte_pktmbuf_data_len(m), head = with.header_size + sizeof(DataHeader);
  m = with_room(context, m, static_cast<uint16_t>(head), static_cast<uint16_t>(padded - size + kTagSize));
  if (m == nullptr) [[unlikely]]
    return nullptr;
  auto* const text = rte_pktmbuf_mtod(m, std::byte*);
  static_assert(kTagSize == 16, "less than 16 bytes of padding, and then the tag");
  std::memset(text + size, 0, kTagSize);
  std::byte* const at = text - head;
  copy_outer_headers(at, with.outer);
  const size_t l4_size = sizeof(UdpHeader) + kDataOverhead + padded;
  const size_t l3_size = with.l3_headers + kDataOverhead + padded;
  if (with.l3_headers == sizeof(Ipv4Header) + sizeof(UdpHeader)) [[likely]] {
    fill_ipv4(context, text - sizeof(DataHeader) - with.l3_headers, with.outer, traffic_class, l3_size);
  } else {
    fill_ipv6(text - sizeof(DataHeader) - with.l3_headers, traffic_class, l3_size);
  }
  const be16 length(static_cast<uint16_t>(l4_size));
  const le64 number(counter);
  std::memcpy(text - sizeof(DataHeader), &with.start, sizeof with.start);
  std::memcpy(text - sizeof number, &number, sizeof number);
  m->data_off = static_cast<uint16_t>(m->data_off - head);
  resize(m, head + padded + kTagSize);
  // The length counts twice: in the header and in the pseudo header.
  lay_out(job, with.key.secret, counter, {text, padded}, with.sum + halves(counter) + 2 * checksum_word(length));
  udp_header_of(job).length = length;
  return m;
}

// Of the outer packet. A keepalive, which is nothing but WireGuard's, is Not-ECT.
uint8_t outer_class_of(const TunnelView& tunnel, rte_mbuf* m) noexcept {
  const uint8_t inner = rte_pktmbuf_data_len(m) != 0 ? traffic_class_of(bytes_of(m)) : 0;
  return static_cast<uint8_t>((inner & tunnel.dscp_copied) | tunnel.dscp_fixed | ecn_encapsulate(inner & kEcnMask));
}

// What does not depend on the frame of what a port needs to add up UDP checksums.
class Offload {
 public:
  Offload() = default;
  explicit Offload(const Wrapping& with) noexcept : by_socket_(with.outer.by_socket) {
    const bool ipv4 = with.l3_headers == sizeof(Ipv4Header) + sizeof(UdpHeader);
    flags_ = RTE_MBUF_F_TX_UDP_CKSUM | (ipv4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6);
    layers_ = rte_mbuf_tx_offload(with.outer.l3_offset, ipv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header), 0, 0, 0, 0, 0);
    const auto& udp =
        *reinterpret_cast<const UdpHeader*>(with.outer.header.data() + with.header_size - sizeof(UdpHeader));
    // RFC 1624: what is taken away is added as its complement.
    pseudo_ = with.outer.udp_sum + (UINT16_MAX - checksum_word(udp.source_port)) +
              (UINT16_MAX - checksum_word(udp.destination_port));
  }
  // The port fills in the checksum; the field starts as the pseudo header's sum.
  void ask(rte_mbuf* m, UdpHeader& udp) const noexcept {
    if (by_socket_) return;  // Linux makes a header of its own
    m->tx_offload = layers_;
    m->ol_flags |= flags_;
    udp.checksum = static_cast<uint16_t>(~checksum_fold(pseudo_ + checksum_word(udp.length)));
  }

 private:
  bool by_socket_ = true;
  uint64_t flags_ = 0, layers_ = 0;
  uint32_t pseudo_ = 0;
};

// The jobs' cipher work, open to all workers; finish_seals() goes on with the frames. False: they are still the
// caller's.
bool spread_seals(WorkerContext& context, Burst& frames, std::span<const SealJob> jobs, Sums sums,
                  StageClock& clock) noexcept {
  finish_seals(context, Spread::kDepth - 1, clock);
  SharedBurst* burst = context.spread->begin(Cipher::kSeal, frames);
  if (burst == nullptr) {
    finish_seals(context, 0, clock);  // they are older
    return false;
  }
  std::copy(jobs.begin(), jobs.end(), burst->seal.begin());
  burst->sums = sums;
  context.spread->publish();
  clock.finished(Stage::spread, burst->jobs);
  return true;
}

// --- finish_outer ---

// Zero would mean "no checksum" (RFC 768).
void fill_udp_checksum(const SealJob& job) noexcept {
  const uint16_t sum = checksum_fold(job.sum);
  udp_header_of(job).checksum = sum != 0 ? sum : uint16_t{0xffff};
}

// The outer path is too narrow: DF is clear, and we are the source, so we may split.
void transmit_in_fragments(WorkerContext& context, rte_mbuf* m) noexcept {
  const OuterRoute& outer = *meta(m).way.outer;
  const uint8_t l2_size = outer.l3_offset;
  rte_pktmbuf_adj(m, l2_size);
  const bool ipv4 = version_of(bytes_of(m)) == Family::kIpv4;
  const auto id = static_cast<uint32_t>(rte_rdtsc());
  Fragments fragments =
      ipv4 ? fragment_ipv4(m, outer.mtu, context.pool) : fragment_ipv6(m, outer.mtu, id, context.pool);
  if (fragments.count == 0) return context.drop(m, Drop::no_buffer);
  for (rte_mbuf* fragment : fragments.all()) {
    std::memcpy(rte_pktmbuf_prepend(fragment, l2_size), outer.header.data(), l2_size);
    context.transmit->push(outer.port, fragment);
  }
  rte_pktmbuf_free(m);
}

Leaving leaving_of(rte_mbuf* m) noexcept { return meta(m).way.leaving; }

void finish_outer(WorkerContext& context, Burst& frames, const SealJob* jobs) noexcept {
  for_each_run(frames.all(), leaving_of, [&](std::span<rte_mbuf*> run) {
    const Leaving as = leaving_of(run[0]);
    if (as.has(Leaving::kOurSum))
      for (const SealJob& job : std::span(jobs, run.size())) fill_udp_checksum(job);
    jobs += run.size();
    if (!as.has(Leaving::kTooLarge)) return context.transmit->push(as.port(), run);
    for (rte_mbuf* m : run) transmit_in_fragments(context, m);
  });
}

// Whether what the packets refer to outlives this call, so that they may wait for other workers.
enum class Ways : uint8_t { kPublished, kOfThisCall };

void seal_and_transmit(WorkerContext& context, Burst& frames, std::span<SealJob> jobs, Sums sums, Ways ways,
                       StageClock& clock) noexcept {
  if (frames.empty()) return;
  if (context.spread != nullptr && ways == Ways::kOfThisCall) {
    finish_seals(context, 0, clock);  // they are older
  } else if (context.spread != nullptr && context.spread->wants(Cipher::kSeal, frames)) {
    if (spread_seals(context, frames, jobs, sums, clock)) return;
  }
  context.engine->seal(jobs, sums);
  clock.finished(Stage::seal_burst, frames.count);
  finish_outer(context, frames, jobs.data());
  clock.finished(Stage::finish_outer, frames.count);
  frames.count = 0;
}

// --- Departure ---

void ask_for_rekey(WorkerContext& context, Peer& peer, const SendingKey& key, uint64_t counter) noexcept {
  const bool old = key.initiator && context.now - key.birth >= kRekeyAfterTime;
  if (old || counter > kRekeyAfterMessages) post_once(context, peer, EventKind::kNeedHandshake);
}

// Frames that are ready to be sealed, and their jobs; a full burst is sealed at once.
class Departure {
 public:
  Departure(WorkerContext& context, StageClock& clock) noexcept : context_(context), clock_(clock) {}
  // Packets to one peer. What is too large for the path to it, though not for the tunnel, is not just framed.
  [[gnu::always_inline]] inline void add(std::span<rte_mbuf*> packets, Peer& peer, const Way& way) noexcept {
    uint16_t largest = 0;
    for (rte_mbuf* m : packets) largest = std::max(largest, rte_pktmbuf_data_len(m));
    if (largest <= way.outer->inner_mtu) [[likely]]
      return frame_payload(packets, peer, *way.key, *way.outer);
    add_with_large(packets, peer, way);
  }
  void add_staged(Peer& peer, const Way& way) noexcept {
    if (!context_.staged->holds(peer.id)) return;
    std::array<rte_mbuf*, kMaxStagedPackets> staged;
    const unsigned n = context_.staged->take(peer.id, staged);
    add(std::span(staged).first(n), peer, way);
  }
  // Leads to where the peer has gone, if it has; that is good until the next call.
  void follow(const Peer& peer, Way& way) noexcept {
    const Keypair* moved = way.open() ? moved_session(context_, peer, way) : nullptr;
    if (moved == nullptr) return;
    finish();  // frames may still refer to the last one
    const uint16_t listen_port = context_.published->tunnels[peer.tunnel.value].listen_port;
    moved_ = socket_route(way.outer->port, moved->reported.source, moved->reported.local, listen_port);
    way.outer = &moved_;
    ways_ = Ways::kOfThisCall;
  }
  // Some frame's outer headers are.
  bool has_long_headers() const noexcept { return longest_headers_ > kHeaderInFirstLine; }
  void finish() noexcept {
    clock_.finished(Stage::encapsulate, frames_.count);
    seal_and_transmit(context_, frames_, jobs_.first(frames_.count), sums_, ways_, clock_);
    sums_ = Sums::kUnwanted;
  }

 private:
  void frame_payload(std::span<rte_mbuf*> packets, Peer& peer, SendingKey& key, const OuterRoute& outer) noexcept;
  void add_with_large(std::span<rte_mbuf*> packets, Peer& peer, const Way& way) noexcept;
  void add_large(rte_mbuf* m, Peer& peer, const Way& way) noexcept;
  void add_in_fragments(rte_mbuf* m, Peer& peer, const Way& way, uint16_t mtu) noexcept;

  WorkerContext& context_;
  StageClock& clock_;
  Burst frames_;
  JobRoom<SealJob> jobs_;
  Sums sums_ = Sums::kUnwanted;  // wanted if there is a frame whose port does not add up its UDP checksum
  size_t longest_headers_ = 0;
  OuterRoute moved_;
  Ways ways_ = Ways::kPublished;
};

void Departure::frame_payload(std::span<rte_mbuf*> packets, Peer& peer, SendingKey& key,
                              const OuterRoute& outer) noexcept {
  if (frames_.count + packets.size() > kMaxBurst) finish();
  const Wrapping with(context_, context_.published->tunnels[peer.tunnel.value], key, outer);
  const Offload offload = with.not_added_up != 0 ? Offload(with) : Offload();
  auto [numbered, counter] = reserve_nonces(context_, peer, key, packets);
  longest_headers_ = std::max(longest_headers_, with.header_size);
  const unsigned before = frames_.count;
  SealJob* job = jobs_.data() + before;
  uint64_t text = 0;
  size_t largest = 0;
  Traffic sent;
  for (rte_mbuf* m : numbered) {
    const size_t padded = padded_size(rte_pktmbuf_data_len(m), with.limit);
    m = frame(context_, m, with, counter++, padded, outer_class_of(with.tunnel, m), *job);
    if (m == nullptr) [[unlikely]]
      continue;
    meta(m).way = {&with.outer, padded < with.too_large ? with.leaving : with.leaving_too_large};
    if (padded < with.not_added_up) offload.ask(m, udp_header_of(*job));
    text += padded;
    largest = std::max(largest, padded);
    sent.data += padded != 0;
    frames_.push(m);
    ++job;
  }
  sent.messages = frames_.count - before;
  if (sent.messages == 0) return;
  // Counted as sent while its lines are at hand, also what a helper that stalls will lose (spread.h).
  if (largest >= with.not_added_up) sums_ = Sums::kWanted;
  sluice::add(context_, key.bytes, text + sent.messages * kDataOverhead);
  note_sent(context_, peer, sent);
  ask_for_rekey(context_, peer, key, counter - 1);
}

[[gnu::noinline]] void Departure::add_with_large(std::span<rte_mbuf*> packets, Peer& peer, const Way& way) noexcept {
  const auto fits = [&](rte_mbuf* m) { return rte_pktmbuf_data_len(m) <= way.outer->inner_mtu; };
  for (;;) {
    const auto fit = static_cast<size_t>(std::ranges::find_if_not(packets, fits) - packets.begin());
    if (fit != 0) frame_payload(packets.first(fit), peer, *way.key, *way.outer);
    if (fit == packets.size()) return;
    add_large(packets[fit], peer, way);
    packets = packets.subspan(fit + 1);
  }
}

// Below IPv6's minimum there is nothing to say to an IPv6 sender: the message leaves in fragments (RFC 2473, section
// 7.1).
void Departure::add_large(rte_mbuf* m, Peer& peer, const Way& way) noexcept {
  const bool ipv4 = version_of(bytes_of(m)) == Family::kIpv4;
  const uint16_t mtu = ipv4 ? way.outer->inner_mtu : std::max(way.outer->inner_mtu, kIpv6MinimumMtu);
  if (rte_pktmbuf_data_len(m) <= mtu) return frame_payload({&m, 1}, peer, *way.key, *way.outer);
  if (ipv4 && !rte_pktmbuf_mtod(m, const Ipv4Header*)->dont_fragment()) return add_in_fragments(m, peer, way, mtu);
  meta(m).mtu = mtu;
  context_.punts->reject(m, PuntReason::kTooBig, Drop::too_big, context_.now);
}

void Departure::add_in_fragments(rte_mbuf* m, Peer& peer, const Way& way, uint16_t mtu) noexcept {
  Fragments fragments = fragment_ipv4(m, mtu, context_.pool);
  if (fragments.count == 0) return context_.drop(m, Drop::no_buffer);
  frame_payload(fragments.all(), peer, *way.key, *way.outer);
  rte_pktmbuf_free(m);
}

void turn_away(WorkerContext& context, const Peer& peer, std::span<rte_mbuf*> run, Drop obstacle) noexcept {
  for (rte_mbuf* m : run) {
    if (obstacle == Drop::no_endpoint) {
      meta(m).peer = peer.id;
      context.punts->reject(m, PuntReason::kNoEndpoint, obstacle, context.now);
    } else {
      context.drop(m, obstacle);
    }
  }
}

void send_run(WorkerContext& context, Peer& peer, std::span<rte_mbuf*> run, Departure& departure) noexcept {
  const TunnelView& tunnel = context.published->tunnels[peer.tunnel.value];
  if (tunnel.mss_clamp) clamp_segments(tunnel, peer, run);
  Way way = choose_way(context, tunnel, peer);
  departure.follow(peer, way);
  if (way.obstacle != Drop::count_) return turn_away(context, peer, run, way.obstacle);
  if (!way.open()) {
    for (rte_mbuf* m : run) stage(context, peer, m);
    return;
  }
  departure.add_staged(peer, way);
  departure.add(run, peer, way);
}

rte_mbuf* make_keepalive(WorkerContext& context, const Peer& peer) noexcept {
  rte_mbuf* m = rte_pktmbuf_alloc(context.pool);
  if (m == nullptr) {
    context.drops->add(Drop::no_buffer);
    return nullptr;
  }
  meta(m) = {.from = {.in_port = kNoPort, .tunnel = peer.tunnel, .worker = context.id}, .peer = peer.id};
  return m;
}

// Nobody on the way may split it: DF, of which the template's checksum knows nothing.
void forbid_fragments(std::byte* at) noexcept {
  if (version_of({at, 1}) != Family::kIpv4) return;
  auto& ip = *reinterpret_cast<Ipv4Header*>(at);
  const uint16_t before = ip.flags_fragment.host();
  ip.flags_fragment = static_cast<uint16_t>(before | 0x4000);
  ip.checksum = checksum_adjust(ip.checksum.host(), before, ip.flags_fragment.host());
}

// One message of exactly this size, whatever the path is believed to take.
void seal_and_transmit_probe(WorkerContext& context, rte_mbuf* m, Peer& peer, const Way& way) noexcept {
  const Numbered numbered = reserve_nonces(context, peer, *way.key, {&m, 1});
  if (numbered.packets.empty()) return;
  const Wrapping with(context, context.published->tunnels[peer.tunnel.value], *way.key, *way.outer);
  SealJob job;
  m = frame(context, m, with, numbered.first, rte_pktmbuf_data_len(m), 0, job);
  if (m == nullptr) return;
  const bool by_port = job.text.size() < with.not_added_up;
  if (by_port) Offload(with).ask(m, udp_header_of(job));
  context.engine->seal({&job, 1}, by_port ? Sums::kUnwanted : Sums::kWanted);
  if (!by_port) fill_udp_checksum(job);
  forbid_fragments(rte_pktmbuf_mtod_offset(m, std::byte*, with.outer.l3_offset));
  // Not data in the sense of the timers: that it is not answered is no reason for a handshake.
  add(context, way.key->bytes, job.text.size() + kDataOverhead);
  note_sent(context, peer, {.messages = 1, .data = 0});
  context.transmit->push(with.outer.port, m);
}

}  // namespace

void finish_seals(WorkerContext& context, unsigned leave, StageClock& clock) noexcept {
  while (context.spread->under_way(Cipher::kSeal) > leave) {
    const Spread::Joined joined = context.spread->join(Cipher::kSeal);
    Burst frames;
    JobRoom<SealJob> jobs;
    joined.for_each([&](rte_mbuf* m, unsigned i) {
      jobs.data()[frames.count] = joined.work.seal[i];
      frames.push(m);
    });
    clock.finished(Stage::seal_burst, frames.count);
    finish_outer(context, frames, jobs.data());
    clock.finished(Stage::finish_outer, frames.count);
  }
}

void encapsulate(WorkerContext& context, Burst& packets, StageClock& clock) noexcept {
  Departure departure(context, clock);
  ToPeers(*context.peers, packets.all(), context.long_headers).for_each([&](const ToPeer& to) {
    to.peer != nullptr ? send_run(context, *to.peer, to.packets(), departure) : reject_unowned(context, to.packets());
  });
  departure.finish();
  context.long_headers = departure.has_long_headers();
}

void process_tunnel_bound(WorkerContext& context, Burst& packets) noexcept {
  StageClock clock(*context.stats);
  keep_if(packets, [&](rte_mbuf* m) {
    if (!inner_length(bytes_of(m))) {
      context.drop(m, Drop::inner_unroutable);
      return false;
    }
    meta(m).from.origin = Origin::kTunnel;
    meta(m).from.family = family_of(m);
    context.recent_flows.ask_for(m);
    return true;
  });
  find_flows(context, packets, clock);
  encapsulate(context, packets, clock);
  context.punts->flush();
}

void flush_staged(WorkerContext& context, PeerId id) noexcept {
  Peer* peer = context.peers->find(id);
  if (peer == nullptr) return context.staged->discard(id);
  if (!context.staged->holds(id)) return;
  StageClock clock(*context.stats);
  const TunnelView* tunnel = tunnel_that_is_up(*context.published, peer->tunnel);
  if (tunnel == nullptr) return;
  const Way way = choose_way(context, *tunnel, *peer);
  if (way.obstacle != Drop::count_ || !way.open()) return;  // they wait on
  Departure departure(context, clock);
  departure.add_staged(*peer, way);
  departure.finish();
}

// Whoever sent what waited in vain is told that the other side cannot be reached.
void discard_staged(WorkerContext& context, PeerId peer) noexcept {
  if (!context.staged->holds(peer)) return;
  rte_mbuf* waited[kMaxStagedPackets];
  const unsigned n = context.staged->take(peer, waited);
  for (rte_mbuf* m : std::span(waited, n))
    context.punts->reject(m, PuntReason::kNoEndpoint, Drop::staged_discarded, context.now);
  context.punts->flush();
}

void send_keepalive(WorkerContext& context, PeerId id) noexcept {
  Peer* peer = context.peers->find(id);
  if (peer == nullptr) return;
  if (context.staged->holds(id)) return flush_staged(context, id);
  StageClock clock(*context.stats);
  const TunnelView* tunnel = tunnel_that_is_up(*context.published, peer->tunnel);
  if (tunnel == nullptr) return;
  const Way way = choose_way(context, *tunnel, *peer);
  if (way.obstacle != Drop::count_ || !way.open()) return;
  rte_mbuf* m = make_keepalive(context, *peer);
  if (m == nullptr) return;
  Departure departure(context, clock);
  departure.add({&m, 1}, *peer, way);
  departure.finish();
}

void send_probe(WorkerContext& context, PeerId id, rte_mbuf* plaintext) noexcept {
  Peer* peer = context.peers->find(id);
  const Way way{.outer = peer != nullptr ? peer->outer.load(std::memory_order_acquire) : nullptr,
                .key = peer != nullptr ? usable_key(context, *peer) : nullptr};
  const bool up = peer != nullptr && tunnel_that_is_up(*context.published, peer->tunnel) != nullptr;
  if (!up || way.outer == nullptr || !way.open()) return rte_pktmbuf_free(plaintext);
  meta(plaintext) = {.from = {.in_port = kNoPort, .tunnel = peer->tunnel, .worker = context.id}, .peer = id};
  seal_and_transmit_probe(context, plaintext, *peer, way);
}

}  // namespace sluice
