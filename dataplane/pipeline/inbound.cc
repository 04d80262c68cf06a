// WireGuard messages to inner packets, in the order of protocol.md section 7: nothing changes before a packet is
// authentic and new.
//   find_sessions    receiver index -> key that may still receive; if another worker owns it: across, once
//   open_burst       decrypt, authenticate and, if nobody has, verify the UDP checksum, one engine call; while this
//                    worker is saturated, others take part (spread.h)
//   accept_messages  replay window; confirmation, roaming, last-minute rekey, stamps; keepalives end here; length
//   check_inner      source among the peer's allowed IPs, padding, ECN, MSS
// Survivors go on as packets that have just arrived (forward.cc), or out of the tunnel's own port.
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <cstring>

#include "dataplane/base/equal_bytes.h"
#include "dataplane/base/prefetch.h"
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

// Between its header and its tag.
Bytes text_of(rte_mbuf* m) noexcept {
  return {rte_pktmbuf_mtod_offset(m, std::byte*, sizeof(DataHeader)), rte_pktmbuf_data_len(m) - kDataOverhead};
}

bool is_keepalive(rte_mbuf* m) noexcept { return rte_pktmbuf_data_len(m) == kDataOverhead; }

ReceivingKey* key_of(rte_mbuf* m) noexcept { return meta(m).key; }

void post_handshakes(WorkerContext& context, Burst& handshakes) noexcept {
  const unsigned taken = context.mailbox->post_handshakes(handshakes.packets, handshakes.count);
  for (unsigned i = taken; i < handshakes.count; ++i) context.drop(handshakes.packets[i], Drop::handshake_ring_full);
}

// What keeps data under this key from being looked at, or nothing (Drop::count_).
Drop refusal(const WorkerContext& context, const ReceivingKey& key) noexcept {
  if (tunnel_that_is_up(*context.published, key.tunnel) == nullptr) return Drop::tunnel_down;
  const bool usable = key.usable.load(std::memory_order_relaxed);
  return usable && context.now - key.birth < kRejectAfterTime ? Drop::count_ : Drop::data_key_expired;
}

// Puts messages for one keypair of another worker into the peer's ring and has that worker look at it.
void hand_off(WorkerContext& context, const ReceivingKey& key, std::span<rte_mbuf*> messages) noexcept {
  Peer& peer = *key.peer;
  HandoffRing* handoff = nullptr;
  const PeerRest& rest = context.peers->rest_of(peer);
  if (rest.handoff != nullptr && key.owner.value < rest.worker_count)
    handoff = rest.handoff[key.owner.value].load(std::memory_order_acquire);
  if (handoff == nullptr || key.owner.value >= context.mailboxes.size()) {
    for (rte_mbuf* m : messages) context.drop(m, Drop::handoff_stale);
    return;
  }
  const unsigned taken = rte_ring_mp_enqueue_burst(handoff->ring, reinterpret_cast<void* const*>(messages.data()),
                                                   static_cast<unsigned>(messages.size()), nullptr);
  for (rte_mbuf* m : messages.subspan(taken)) context.drop(m, Drop::handoff_full);
  WorkerStats::bump(context.stats->handed_off, taken);
  if (handoff->scheduled.exchange(true, std::memory_order_acq_rel)) return;
  // Not posted: the owner learns of it with the next message that crosses.
  if (!context.mailboxes[key.owner.value]->post_ready(peer.id))
    handoff->scheduled.store(false, std::memory_order_release);
}

void hand_off_foreign(WorkerContext& context, Burst& foreign) noexcept {
  for_each_run(foreign.all(), key_of, [&](std::span<rte_mbuf*> run) { hand_off(context, *key_of(run[0]), run); });
}

// What is read behind the cipher of keys and with them, asked for before it is needed: with many peers none of it is in
// the cache.
class ReadAfterOpening {
 public:
  void add(const WorkerContext& context, const ReceivingKey& key) noexcept {
    const void** line = lines_ + count_;
    line[0] = &key.heard;
    line[1] = key.peer;
    line[2] = context.recent_flows.line_of(key.last_flow);
    count_ += 3;
  }
  std::span<const void* const> lines() const noexcept { return {lines_, count_}; }

 private:
  const void* lines_[3 * kMaxBurst];
  size_t count_ = 0;
};

uint32_t index_of(rte_mbuf* m) noexcept { return data_header(m).receiver_index.host(); }

// Those under other workers' keys are moved to `foreign`.
void find_sessions(WorkerContext& context, Burst& messages, Drop unknown, Burst& foreign) noexcept {
  const std::span<rte_mbuf*> arrived = messages.all();
  messages.count = 0;  // survivors are written over those that have been seen
  for_each_run(arrived, index_of, [&](std::span<rte_mbuf*> run) {
    ReceivingKey* key = context.sessions->find(index_of(run[0]));
    const Drop reason = key == nullptr ? unknown : refusal(context, *key);
    if (reason != Drop::count_) {
      for (rte_mbuf* m : run) context.drop(m, reason);
      return;
    }
    Burst& mine = key->owner == context.id ? messages : foreign;
    for (rte_mbuf* m : run) {
      meta(m).key = key;
      mine.push(m);
    }
  });
}

// Says whether there is a message whose UDP checksum is still to be verified.
Sums lay_out_jobs(const WorkerContext& context, std::span<rte_mbuf*> messages, OpenJob* jobs,
                  ReadAfterOpening& after) noexcept {
  uint32_t unverified = 0;
  const ReceivingKey* previous = nullptr;
  for (rte_mbuf* m : messages) {
    unverified |= meta(m).partial_sum;
    const Bytes text = text_of(m);
    const uint64_t counter = data_header(m).counter.host();
    const ReceivingKey& key = *key_of(m);
    // Member by member: as a whole it would be put together on the stack, and loads wider than their stores wait.
    jobs->key = &key.secret;
    jobs->nonce = counter;
    jobs->text = text;
    jobs->tag = text.data() + text.size();
    jobs->ok = false;
    jobs->sum = meta(m).partial_sum;
    ++jobs;
    meta(m).counter = counter;
    if (&key != previous) after.add(context, key);
    previous = &key;
  }
  return unverified != 0 ? Sums::kWanted : Sums::kUnwanted;
}

// What was damaged on the way counts as that, although it does not authenticate either. False: disposed of.
bool is_authentic(WorkerContext& context, rte_mbuf* m, const OpenJob& job) noexcept {
  const bool holds = meta(m).partial_sum == 0 || checksum_fold(job.sum) == 0;
  if (job.ok && holds) [[likely]]
    return true;
  context.drop(m, holds ? Drop::data_authentication : Drop::udp_checksum);
  return false;
}

void open_burst(WorkerContext& context, Burst& messages) noexcept {
  JobRoom<OpenJob> jobs;
  ReadAfterOpening after;
  const Sums sums = lay_out_jobs(context, messages.all(), jobs.data(), after);
  context.engine->read_after_next(after.lines());
  context.engine->open(jobs.first(messages.count), sums);
  const OpenJob* job = jobs.data();
  keep_if(messages, [&](rte_mbuf* m) { return is_authentic(context, m, *job++); });
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
  ReadAfterOpening after;
  burst->sums = lay_out_jobs(context, all, burst->open.data(), after);
  context.spread->publish();
  for (const void* line : after.lines()) prefetch_far(line);
  clock.finished(Stage::spread, burst->jobs);
  return true;
}

// The first authentic packet under a responder's key proves that the initiator has it too.
void note_confirmation(WorkerContext& context, ReceivingKey& key) noexcept {
  key.confirmed = context.mailbox->post_event(
      {.kind = EventKind::kKeyConfirmed, .worker = context.id, .peer = key.peer->id, .index = key.local_index});
}

// Where a message came from, as it stands in front of it. Who calls has looked at outer_size, which says that there are
// no IP options (or, of IPv4 headers as long as IPv6's, 20 bytes of them: then they are compared, too).
template <size_t kSize>
const std::byte* addresses_and_port(rte_mbuf* m) noexcept {
  constexpr size_t kBehind = sizeof(UdpHeader) - offsetof(UdpHeader, destination_port);
  return rte_pktmbuf_mtod(m, const std::byte*) - kBehind - kSize;
}
constexpr size_t kIpv4Outer = sizeof(Ipv4Header) + sizeof(UdpHeader);
constexpr size_t kIpv6Outer = sizeof(Ipv6Header) + sizeof(UdpHeader);

bool came_from(const HeardFrom& heard, rte_mbuf* m) noexcept {
  const uint8_t size = meta(m).outer_size;
  if (heard.outer_size != size) return false;  // of any other size nothing is kept
  const std::byte* known = heard.addresses_and_port.data();
  return size == kIpv4Outer ? equal_bytes<HeardFrom::kIpv4>(known, addresses_and_port<HeardFrom::kIpv4>(m))
                            : equal_bytes<HeardFrom::kIpv6>(known, addresses_and_port<HeardFrom::kIpv6>(m));
}

void remember(HeardFrom& heard, rte_mbuf* m, uint32_t serial) noexcept {
  std::byte* const to = heard.addresses_and_port.data();
  heard.outer_size = meta(m).outer_size;
  heard.serial = serial;
  if (heard.outer_size == kIpv4Outer) {
    std::memcpy(to, addresses_and_port<HeardFrom::kIpv4>(m), HeardFrom::kIpv4);
  } else if (heard.outer_size == kIpv6Outer) {
    std::memcpy(to, addresses_and_port<HeardFrom::kIpv6>(m), HeardFrom::kIpv6);
  } else {
    heard.outer_size = 0;
  }
}

bool leads_to(const OuterRoute& outer, const OuterHeaders& from) noexcept {
  return outer.remote.port == from.remote.port && outer.remote.address == from.remote.address &&
         outer.local == from.local;
}

// A message from elsewhere than the one before, or the first one since Peer::outer is another.
[[gnu::noinline]] void note_place(WorkerContext& context, ReceivingKey& key, rte_mbuf* m, uint32_t serial) noexcept {
  const OuterHeaders from = outer_headers_of(m);
  auto& reported = context.sessions->keypair_of(key).reported;
  if (reported.serial == serial && context.now - reported.at < kReportMoveAgain) {
    if (from.remote == reported.source && from.local == reported.local) return;
  } else {
    const OuterRoute* outer = key.peer->outer.load(std::memory_order_acquire);
    if (outer != nullptr && leads_to(*outer, from)) return remember(key.heard, m, serial);
  }
  const bool posted = context.mailbox->post_event({.kind = EventKind::kEndpointMoved,
                                                   .worker = context.id,
                                                   .port = meta(m).from.in_port,
                                                   .peer = key.peer->id,
                                                   .index = key.local_index,
                                                   .remote = from.remote,
                                                   .local = from.local});
  if (!posted) return;
  key.heard.outer_size = 0;
  reported = {.source = from.remote, .local = from.local, .serial = serial, .at = context.now};
}

// Roaming (protocol.md section 11): every authentic packet says where its peer is.
void note_source(WorkerContext& context, ReceivingKey& key, rte_mbuf* m) noexcept {
  // Acquire: pairs with publish_outer. A later route than its serial's is taken for that one, until the next message.
  const uint32_t serial = key.peer->outer_serial.load(std::memory_order_acquire);
  if (key.heard.serial == serial && came_from(key.heard, m)) [[likely]]
    return;
  note_place(context, key, m, serial);
}

void note_last_minute(WorkerContext& context, ReceivingKey& key) noexcept {
  if (!key.last_minute_rekey || context.now - key.birth < kLastMinuteRekeyAge) return;
  key.last_minute_rekey = !post_once(context, *key.peer, EventKind::kNeedHandshake);
}

// rx as `wg show` counts it. Nobody else writes it.
void count_received(ReceivingKey& key, uint64_t bytes) noexcept {
  key.bytes.store(key.bytes.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
}

// From a message to the IP packet in it, padding still behind. False: disposed of.
[[gnu::always_inline]] inline bool unwrap(WorkerContext& context, rte_mbuf* m, const Arrivals& arrivals) noexcept {
  const Bytes text = text_of(m);
  if (!inner_length(text)) [[unlikely]] {
    context.drop(m, Drop::inner_malformed);
    return false;
  }
  meta(m).from = arrivals.of(version_of(text));
  meta(m).l2_size = 0;
  m->data_off = static_cast<uint16_t>(m->data_off + sizeof(DataHeader));
  resize(m, text.size());
  return true;
}

// Consecutive messages under one key. Those that are new and have an IP packet in them are kept. The first packet's
// flow may well be that of the last one before it, whose line was asked for; flows of others are still to be found.
void accept_run(WorkerContext& context, std::span<rte_mbuf*> run, Burst& kept, Burst& of_unknown_flow) noexcept {
  ReceivingKey& key = *key_of(run[0]);
  const Arrivals arrivals({.in_port = kNoPort,
                           .tunnel = key.tunnel,
                           .worker = context.id,
                           .origin = Origin::kNetwork,
                           .family = Family::kNone,
                           .zero = 0});
  const auto older = [&]() -> ReplayWindow::OlderWords& { return context.sessions->keypair_of(key).older; };
  const unsigned kept_before = kept.count;
  Traffic received;
  for (rte_mbuf* m : run) {
    if (!key.window.accept(meta(m).counter, older)) {
      context.drop(m, Drop::data_replay);
      continue;
    }
    note_source(context, key, m);
    ++received.messages;
    if (is_keepalive(m)) {
      rte_pktmbuf_free(m);
      continue;
    }
    ++received.data;
    if (!unwrap(context, m, arrivals)) continue;
    if (kept.count != kept_before) {
      context.recent_flows.ask_for(m);
      of_unknown_flow.push(m);
    } else if (!context.recent_flows.recall(m, key.last_flow)) {
      key.last_flow = context.recent_flows.other_place(m, key.last_flow);
      context.recent_flows.ask_for(m);
      of_unknown_flow.push(m);
    }
    kept.push(m);
  }
  if (received.messages == 0) return;
  const uint64_t keepalives = received.messages - received.data;
  if (keepalives != 0) count_received(key, keepalives * kDataOverhead);
  if (!key.confirmed) note_confirmation(context, key);
  note_last_minute(context, key);
  note_received(context, *key.peer, received);
}

void accept_messages(WorkerContext& context, Burst& messages, Burst& of_unknown_flow) noexcept {
  const std::span<rte_mbuf*> opened = messages.all();
  messages.count = 0;  // survivors are written over those that have been seen
  for_each_run(opened, key_of, [&](std::span<rte_mbuf*> run) { accept_run(context, run, messages, of_unknown_flow); });
}

// What a router asks of an IP header before it acts on it (RFC 1812, section 5.2.2); none of the tunnel's business, and
// therefore after it. Drop::count_: nothing wrong.
[[gnu::noinline]] Drop fault_of_rare_header(ConstBytes packet) noexcept {
  if (version_of(packet) != Family::kIpv4) return Drop::count_;
  const auto& ip = *reinterpret_cast<const Ipv4Header*>(packet.data());
  if (ip.header_size() < sizeof ip || ip.header_size() > packet.size()) return Drop::inner_malformed;
  return ipv4_checksum_holds(ip) ? Drop::count_ : Drop::ip_checksum;
}

// Padding off, ECN of the outer header in. False: disposed of. unwrap() has found the length good.
[[gnu::always_inline]] inline bool finish_inner(WorkerContext& context, rte_mbuf* m) noexcept {
  const auto& ip = *rte_pktmbuf_mtod(m, const Ipv4Header*);
  Drop fault = Drop::count_;
  if (ip.has_no_options()) [[likely]] {
    resize(m, ip.total_length.host());
    if (!ipv4_sum_holds(ip)) fault = Drop::ip_checksum;
  } else {
    resize(m, *inner_length(bytes_of(m)));
    fault = fault_of_rare_header(bytes_of(m));
  }
  if (fault != Drop::count_) [[unlikely]] {
    context.drop(m, fault);
    return false;
  }
  const uint8_t outer = meta(m).outer_class;
  if (outer == kEcnNotEct) [[likely]]  // as ecn_decapsulate has it
    return true;
  const uint8_t inner = ecn_of(bytes_of(m)), ecn = ecn_decapsulate(outer, inner);
  if (ecn != inner) set_ecn(bytes_of(m), ecn);
  return true;
}

bool is_shared_by(const TunnelView& tunnel, uint32_t owner, const Peer& peer) noexcept {
  const SharedOwners* several = shared_owners(tunnel.shared_owners, owner);
  return several != nullptr && several->contain(peer.id.slot);
}

// Consecutive packets of one peer: the longest matching prefix of each source has to be its. Counts what passes, as the
// kernel does.
void check_sources(WorkerContext& context, std::span<rte_mbuf*> run, Burst& kept) noexcept {
  ReceivingKey& key = *key_of(run[0]);
  const Peer& peer = *key.peer;
  const TunnelView& tunnel = context.published->tunnels[peer.tunnel.value];
  const unsigned kept_before = kept.count;
  uint64_t bytes = 0;
  for (rte_mbuf* m : run) {
    const uint32_t owner = meta(m).flow.source_owner;
    if (owner != peer.id.slot && !is_shared_by(tunnel, owner, peer)) [[unlikely]] {
      context.drop(m, Drop::inner_source);
      continue;
    }
    bytes += rte_pktmbuf_data_len(m) + kDataOverhead;
    if (finish_inner(context, m)) kept.push(m);
  }
  if (bytes != 0) count_received(key, bytes);
  const std::span<rte_mbuf*> out = kept.all().subspan(kept_before);
  if (tunnel.mss_clamp) clamp_segments(tunnel, peer, out);
  if (tunnel.inner_port == kNoPort) return;
  context.transmit->push(tunnel.inner_port, out);
  kept.count = kept_before;
}

void check_inner(WorkerContext& context, Burst& packets, Burst& of_unknown_flow) noexcept {
  if (!of_unknown_flow.empty()) context.recent_flows.find(context, of_unknown_flow.all());
  const std::span<rte_mbuf*> unwrapped = packets.all();
  packets.count = 0;  // survivors are written over those that have been seen
  for_each_run(unwrapped, key_of, [&](std::span<rte_mbuf*> run) { check_sources(context, run, packets); });
}

// From accept_messages on: authentic messages.
void deliver(WorkerContext& context, Burst& messages, StageClock& clock) noexcept {
  Burst of_unknown_flow;
  const auto timed = [&](Stage stage, auto run_stage) {
    const unsigned n = messages.count;
    run_stage(context, messages, of_unknown_flow);
    clock.finished(stage, n);
  };
  timed(Stage::accept_messages, accept_messages);
  timed(Stage::check_inner, check_inner);
  if (messages.empty()) return;
  forward_packets(context, messages, clock);
}

// From find_sessions on: messages under our own keys.
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
      if (is_authentic(context, m, joined.work.open[i])) messages.push(m);
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

void receive_messages(WorkerContext& context, Messages& messages, StageClock& clock) noexcept {
  if (!messages.handshakes.empty()) post_handshakes(context, messages.handshakes);
  if (messages.data.empty()) return;
  const unsigned arrived = messages.data.count;
  Burst foreign;
  find_sessions(context, messages.data, Drop::data_unknown_index, foreign);
  hand_off_foreign(context, foreign);
  clock.finished(Stage::find_sessions, arrived);
  open_messages(context, messages.data, clock);
}

void process_handed_off(WorkerContext& context, Burst& messages) noexcept {
  StageClock clock(*context.stats);
  const unsigned arrived = messages.count;
  for (rte_mbuf* m : messages.all()) context.sessions->prefetch(index_of(m));
  Burst foreign;
  find_sessions(context, messages, Drop::handoff_stale, foreign);
  // The index may have gone to a new keypair of another worker meanwhile; nothing crosses twice.
  for (rte_mbuf* m : foreign.all()) context.drop(m, Drop::handoff_stale);
  clock.finished(Stage::find_sessions, arrived);
  open_messages(context, messages, clock);
  context.punts->flush();
}

}  // namespace sluice
