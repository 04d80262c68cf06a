// WireGuard messages to inner packets, in the order of protocol.md section 7: nothing changes before a packet is
// authentic and new.
//   split_by_type       handshake messages to control, data stays
//   find_sessions       receiver index -> keypair that may still receive
//   hand_off_foreign    another worker owns the keypair: across, once
//   open_burst          decrypt and authenticate, one engine call; while this worker is saturated, others take part
//                       (spread.h)
//   accept_counters     replay window
//   note_authenticated  confirmation, roaming, last-minute rekey, stamps; keepalives end here
//   check_inner         length, source among the peer's allowed IPs, ECN, padding, MSS
// Survivors go on as packets that have just arrived (forward.cc), or out of the tunnel's own port.
#include <rte_mbuf.h>
#include <rte_prefetch.h>
#include <rte_ring.h>

#include <cstring>
#include <utility>

#include "dataplane/pipeline/line.h"
#include "dataplane/pipeline/peer_activity.h"
#include "dataplane/pipeline/punt.h"
#include "dataplane/pipeline/spread.h"
#include "dataplane/pipeline/stages.h"
#include "dataplane/pipeline/transmit.h"
#include "dataplane/wire/ip.h"
#include "dataplane/wire/limits.h"
#include "dataplane/wire/messages.h"

namespace sluice {
namespace {

// While control has not followed a move, it is reported again after this time.
constexpr std::chrono::nanoseconds kReportMoveAgain = 100ms;

const DataHeader& data_header(rte_mbuf* m) noexcept { return *rte_pktmbuf_mtod(m, const DataHeader*); }

bool is_keepalive(rte_mbuf* m) noexcept { return rte_pktmbuf_data_len(m) == kDataOverhead; }

Keypair* keypair_of(rte_mbuf* m) noexcept { return meta(m).keypair; }

void post_handshakes(WorkerContext& context, Burst& handshakes) noexcept {
  const unsigned taken = context.mailbox->post_handshakes(handshakes.packets, handshakes.count);
  for (unsigned i = taken; i < handshakes.count; ++i) context.drop(handshakes.packets[i], Drop::handshake_ring_full);
}

void split_by_type(WorkerContext& context, Burst& messages) noexcept {
  Burst handshakes;
  keep_if(messages, [&](rte_mbuf* m) {
    switch (classify(bytes_of(m))) {
      case MessageType::kData:
        return true;
      case MessageType::kInvalid:
        context.drop(m, Drop::message_invalid);
        return false;
      default:
        handshakes.push(m);
        return false;
    }
  });
  if (!handshakes.empty()) post_handshakes(context, handshakes);
}

// What keeps data under this keypair from being looked at, or nothing (Drop::count_).
Drop refusal(const WorkerContext& context, const Keypair& keypair) noexcept {
  if (tunnel_that_is_up(*context.published, keypair.peer->tunnel) == nullptr) return Drop::tunnel_down;
  const bool usable = keypair.can_receive.load(std::memory_order_relaxed);
  return usable && context.now - keypair.birth < kRejectAfterTime ? Drop::count_ : Drop::data_key_expired;
}

void find_sessions(WorkerContext& context, Burst& messages, Drop unknown) noexcept {
  uint32_t indices[kMaxBurst];
  Keypair* keypairs[kMaxBurst];
  for (unsigned i = 0; i < messages.count; ++i) indices[i] = data_header(messages.packets[i]).receiver_index.host();
  context.sessions->find_burst({indices, messages.count}, {keypairs, messages.count});
  unsigned i = 0;
  keep_if(messages, [&](rte_mbuf* m) {
    Keypair* keypair = keypairs[i++];
    const Drop reason = keypair == nullptr ? unknown : refusal(context, *keypair);
    if (reason != Drop::count_) {
      context.drop(m, reason);
      return false;
    }
    meta(m).keypair = keypair;
    return true;
  });
}

// Puts messages for one keypair of another worker into the peer's ring and has that worker look at it.
void hand_off(WorkerContext& context, const Keypair& keypair, std::span<rte_mbuf*> messages) noexcept {
  Peer& peer = *keypair.peer;
  HandoffRing* handoff = nullptr;
  if (peer.handoff != nullptr && keypair.owner.value < peer.worker_count)
    handoff = peer.handoff[keypair.owner.value].load(std::memory_order_acquire);
  if (handoff == nullptr || keypair.owner.value >= context.mailboxes.size()) {
    for (rte_mbuf* m : messages) context.drop(m, Drop::handoff_stale);
    return;
  }
  const unsigned taken = rte_ring_mp_enqueue_burst(handoff->ring, reinterpret_cast<void* const*>(messages.data()),
                                                   static_cast<unsigned>(messages.size()), nullptr);
  for (rte_mbuf* m : messages.subspan(taken)) context.drop(m, Drop::handoff_full);
  if (handoff->scheduled.exchange(true, std::memory_order_acq_rel)) return;
  // Not posted: the owner learns of it with the next message that crosses.
  if (!context.mailboxes[keypair.owner.value]->post_ready(peer.id))
    handoff->scheduled.store(false, std::memory_order_release);
}

void hand_off_foreign(WorkerContext& context, Burst& messages) noexcept {
  Burst own;
  for_each_run(messages.all(), keypair_of, [&](std::span<rte_mbuf*> run) {
    const Keypair& keypair = *keypair_of(run[0]);
    if (keypair.owner != context.id) return hand_off(context, keypair, run);
    for (rte_mbuf* m : run) own.push(m);
  });
  std::memcpy(messages.packets, own.packets, own.count * sizeof *own.packets);
  messages.count = own.count;
}

void lay_out_jobs(std::span<rte_mbuf*> messages, OpenJob* jobs) noexcept {
  for (rte_mbuf* m : messages) {
    const Bytes text = bytes_of(m).subspan(sizeof(DataHeader), rte_pktmbuf_data_len(m) - kDataOverhead);
    meta(m).counter = data_header(m).counter.host();
    *jobs++ = {&meta(m).keypair->receive_key, meta(m).counter, text, text.data() + text.size()};
  }
}

void open_burst(WorkerContext& context, Burst& messages) noexcept {
  OpenJob jobs[kMaxBurst];
  lay_out_jobs(messages.all(), jobs);
  context.engine->open({jobs, messages.count});
  unsigned i = 0;
  keep_if(messages, [&](rte_mbuf* m) {
    if (jobs[i++].ok) return true;
    context.drop(m, Drop::data_authentication);
    return false;
  });
}

// open_burst open to all workers; finish_opens() goes on with the messages. False: they are still the caller's.
bool spread_opens(WorkerContext& context, Burst& messages, StageClock& clock) noexcept {
  finish_opens(context, Spread::kDepth - 1, clock);
  const std::span<rte_mbuf*> all = messages.all();
  SharedBurst* burst = context.spread->begin(Cipher::kOpen, messages);
  if (burst == nullptr) {
    finish_opens(context, 0, clock);  // they are older
    return false;
  }
  lay_out_jobs(all, burst->open.data());
  context.spread->publish();
  clock.finished(Stage::spread, burst->jobs);
  return true;
}

void accept_counters(WorkerContext& context, Burst& messages) noexcept {
  keep_if(messages, [&](rte_mbuf* m) {
    if (meta(m).keypair->replay.accept(meta(m).counter)) return true;
    context.drop(m, Drop::data_replay);
    return false;
  });
}

// The first authentic packet under a responder's keypair proves that the initiator has it too.
void note_confirmation(WorkerContext& context, Keypair& keypair) noexcept {
  keypair.confirmed = context.mailbox->post_event(
      {.kind = EventKind::kKeyConfirmed, .worker = context.id, .peer = keypair.peer->id, .index = keypair.local_index});
}

// What control knows, or is about to learn, of the peer's place.
bool is_known(const WorkerContext& context, const Keypair& keypair, const OuterRoute* outer,
              const OuterHeaders& from) noexcept {
  const bool same = keypair.reported_over == outer && (outer == nullptr || keypair.reported_serial == outer->serial);
  const bool reported = same && context.now - keypair.reported_at < kReportMoveAgain;
  if (reported) return from.remote == keypair.reported_source && from.local == keypair.reported_local;
  return outer != nullptr && outer->remote.port == from.remote.port && outer->remote.address == from.remote.address &&
         outer->local == from.local;
}

// Roaming (protocol.md section 11): every authentic packet says where its peer is.
void note_source(WorkerContext& context, Keypair& keypair, rte_mbuf* m) noexcept {
  const OuterHeaders from = outer_headers_of(m);
  const OuterRoute* outer = keypair.peer->outer.load(std::memory_order_acquire);
  if (is_known(context, keypair, outer, from)) return;
  const bool posted = context.mailbox->post_event({.kind = EventKind::kEndpointMoved,
                                                   .worker = context.id,
                                                   .port = meta(m).in_port,
                                                   .peer = keypair.peer->id,
                                                   .index = keypair.local_index,
                                                   .remote = from.remote,
                                                   .local = from.local});
  if (!posted) return;
  keypair.reported_source = from.remote;
  keypair.reported_local = from.local;
  keypair.reported_over = outer;
  keypair.reported_serial = outer != nullptr ? outer->serial : 0;
  keypair.reported_at = context.now;
}

void note_last_minute(WorkerContext& context, Keypair& keypair) noexcept {
  if (!keypair.initiator || keypair.last_minute_rekey_asked) return;
  if (context.now - keypair.birth < kLastMinuteRekeyAge) return;
  keypair.last_minute_rekey_asked = post_once(context, *keypair.peer, EventKind::kNeedHandshake);
}

// Consecutive messages of one keypair.
void note_run(WorkerContext& context, std::span<rte_mbuf*> run) noexcept {
  Keypair& keypair = *keypair_of(run[0]);
  Traffic received;
  for (rte_mbuf* m : run) {
    note_source(context, keypair, m);
    ++received.messages;
    if (!is_keepalive(m)) ++received.data;
  }
  if (!keypair.confirmed) note_confirmation(context, keypair);
  note_last_minute(context, keypair);
  note_received(context, *keypair.peer, received);
}

// rx as `wg show` counts it: one add per run of packets of one peer.
class ReceiveCount {
 public:
  ~ReceiveCount() { store(); }
  void add(Peer& peer, uint64_t bytes) noexcept {
    if (&peer != peer_) {
      store();
      peer_ = &peer;
    }
    ++packets_;
    bytes_ += bytes;
  }

 private:
  void store() noexcept {
    if (peer_ == nullptr) return;
    peer_->rx_packets.fetch_add(std::exchange(packets_, 0), std::memory_order_relaxed);
    peer_->rx_bytes.fetch_add(std::exchange(bytes_, 0), std::memory_order_relaxed);
  }
  Peer* peer_ = nullptr;
  uint64_t packets_ = 0, bytes_ = 0;
};

void note_authenticated(WorkerContext& context, Burst& messages) noexcept {
  for_each_run(messages.all(), keypair_of, [&](std::span<rte_mbuf*> run) { note_run(context, run); });
  ReceiveCount count;
  keep_if(messages, [&](rte_mbuf* m) {
    if (!is_keepalive(m)) return true;
    count.add(*meta(m).keypair->peer, kDataOverhead);
    rte_pktmbuf_free(m);
    return false;
  });
}

// From a message to the IP packet in it, padding still behind.
bool unwrap(WorkerContext& context, rte_mbuf* m) noexcept {
  rte_pktmbuf_adj(m, sizeof(DataHeader));
  rte_pktmbuf_trim(m, kTagSize);
  PacketMeta& about = meta(m);
  about.in_port = kNoPort;
  about.tunnel = about.keypair->peer->tunnel;
  about.l2_size = 0;
  about.outer_size = 0;
  m->ol_flags &= ~uint64_t{RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK};  // were the outer headers'
  if (inner_length(bytes_of(m))) return true;
  context.drop(m, Drop::inner_malformed);
  return false;
}

// What a router asks of a header before it acts on it (RFC 1812, section 5.2.2); none of the tunnel's business, and
// therefore after it. Drop::count_: nothing wrong.
Drop header_fault(ConstBytes packet) noexcept {
  if (version_of(packet) != Family::kIpv4) return Drop::count_;
  const size_t size = reinterpret_cast<const Ipv4Header*>(packet.data())->header_size();
  if (size < sizeof(Ipv4Header) || size > packet.size()) return Drop::inner_malformed;
  return checksum_fold(checksum_add(packet.first(size))) == 0 ? Drop::count_ : Drop::ip_checksum;
}

// Padding off, ECN of the outer header in. False: disposed of.
bool finish_inner(WorkerContext& context, rte_mbuf* m) noexcept {
  const size_t length = *inner_length(bytes_of(m));
  rte_pktmbuf_trim(m, static_cast<uint16_t>(rte_pktmbuf_data_len(m) - length));
  const Drop fault = header_fault(bytes_of(m));
  if (fault != Drop::count_) {
    context.drop(m, fault);
    return false;
  }
  const uint8_t inner = ecn_of(bytes_of(m)), ecn = ecn_decapsulate(meta(m).outer_class, inner);
  if (ecn != inner) set_ecn(bytes_of(m), ecn);
  return true;
}

// Consecutive packets of one tunnel: the longest matching prefix of each source has to be the sender's. Counts what
// passes, as the kernel does.
void check_sources(WorkerContext& context, std::span<rte_mbuf*> run, Burst& passed) noexcept {
  const TunnelView& tunnel = context.published->tunnels[meta(run[0]).tunnel.value];
  uint32_t owners[kMaxBurst];
  look_up(tunnel.allowed_ips, run, Side::kSource, owners);
  const unsigned passed_before = passed.count;
  ReceiveCount count;
  for (size_t i = 0; i < run.size(); ++i) {
    Peer& peer = *keypair_of(run[i])->peer;
    if (owners[i] != peer.id.slot) {
      context.drop(run[i], Drop::inner_source);
      continue;
    }
    count.add(peer, rte_pktmbuf_data_len(run[i]) + kDataOverhead);
    if (finish_inner(context, run[i])) passed.push(run[i]);
  }
  const std::span<rte_mbuf*> out = passed.all().subspan(passed_before);
  if (tunnel.mss_clamp) {
    for_each_run(out, keypair_of,
                 [&](std::span<rte_mbuf*> from) { clamp_segments(tunnel, *keypair_of(from[0])->peer, from); });
  }
  if (tunnel.inner_port == kNoPort) return;
  for (rte_mbuf* m : out) context.transmit->push(tunnel.inner_port, m);
  passed.count = passed_before;
}

void check_inner(WorkerContext& context, Burst& packets) noexcept {
  keep_if(packets, [&](rte_mbuf* m) { return unwrap(context, m); });
  Burst passed;
  for_each_run(
      packets.all(), [](rte_mbuf* m) { return meta(m).tunnel; },
      [&](std::span<rte_mbuf*> run) { check_sources(context, run, passed); });
  std::memcpy(packets.packets, passed.packets, passed.count * sizeof *passed.packets);
  packets.count = passed.count;
}

// From accept_counters on: authentic messages.
void deliver(WorkerContext& context, Burst& messages, StageClock& clock) noexcept {
  const auto timed = [&](Stage stage, auto run_stage) {
    const unsigned n = messages.count;
    run_stage(context, messages);
    clock.finished(stage, n);
  };
  timed(Stage::accept_counters, accept_counters);
  timed(Stage::note_authenticated, note_authenticated);
  timed(Stage::check_inner, check_inner);
  if (messages.empty()) return;
  timed(Stage::look_up_destination, look_up_destination);
  forward_packets(context, messages, Origin::kNetwork, clock);
}

// From find_sessions on: messages under our own keypairs.
void open_messages(WorkerContext& context, Burst& messages, StageClock& clock) noexcept {
  if (messages.empty()) return;
  if (context.spread != nullptr && context.spread->wants(Cipher::kOpen, messages)) {
    if (spread_opens(context, messages, clock)) return;
  }
  const unsigned n = messages.count;
  open_burst(context, messages);
  clock.finished(Stage::open_burst, n);
  deliver(context, messages, clock);
}

}  // namespace

void finish_opens(WorkerContext& context, unsigned leave, StageClock& clock) noexcept {
  while (context.spread->under_way(Cipher::kOpen) > leave) {
    const Spread::Joined joined = context.spread->join(Cipher::kOpen);
    Burst messages;
    joined.for_each([&](rte_mbuf* m, unsigned i) {
      if (joined.work.open[i].ok) {
        messages.push(m);
      } else {
        context.drop(m, Drop::data_authentication);
      }
    });
    clock.finished(Stage::open_burst, joined.work.jobs);
    deliver(context, messages, clock);
  }
}

void finish_spread(WorkerContext& context) noexcept {
  if (context.spread == nullptr) return;
  StageClock clock(*context.stats);
  finish_opens(context, 0, clock);  // first: what comes out of a tunnel may go into another
  finish_seals(context, 0, clock);
  context.punts->flush();
}

void receive_messages(WorkerContext& context, Burst& messages, StageClock& clock) noexcept {
  const unsigned arrived = messages.count;
  split_by_type(context, messages);
  clock.finished(Stage::split_by_type, arrived);
  if (messages.empty()) return;

  const unsigned data = messages.count;
  find_sessions(context, messages, Drop::data_unknown_index);
  clock.finished(Stage::find_sessions, data);
  const unsigned known = messages.count;
  hand_off_foreign(context, messages);
  clock.finished(Stage::hand_off_foreign, known);
  open_messages(context, messages, clock);
}

void process_handed_off(WorkerContext& context, Burst& messages) noexcept {
  StageClock clock(*context.stats);
  const unsigned arrived = messages.count;
  find_sessions(context, messages, Drop::handoff_stale);
  // The index may have gone to a new keypair of another worker meanwhile; nothing crosses twice.
  keep_if(messages, [&](rte_mbuf* m) {
    if (meta(m).keypair->owner == context.id) return true;
    context.drop(m, Drop::handoff_stale);
    return false;
  });
  clock.finished(Stage::find_sessions, arrived);
  open_messages(context, messages, clock);
  context.punts->flush();
}

}  // namespace sluice
