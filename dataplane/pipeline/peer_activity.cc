#include "dataplane/pipeline/peer_activity.h"

namespace sluice {
namespace {

// Stored only when it changed by a tick: the line stays shared between workers under load.
void refresh(MonoTime now, std::atomic<int64_t>& stamp) noexcept {
  const int64_t before = stamp.load(std::memory_order_relaxed);
  if (before == 0 || now.ns - before >= kStampTick) stamp.store(now.ns, std::memory_order_relaxed);
}

// Marks the first of a series. True: this was it.
bool begin(MonoTime now, std::atomic<int64_t>& since) noexcept {
  if (since.load(std::memory_order_relaxed) != 0) return false;
  since.store(now.ns, std::memory_order_relaxed);
  return true;
}

void clear(std::atomic<int64_t>& since) noexcept {
  if (since.load(std::memory_order_relaxed) != 0) since.store(0, std::memory_order_relaxed);
}

}  // namespace

bool post_once(WorkerContext& context, Peer& peer, EventKind kind) noexcept {
  const uint32_t bit = 1u << static_cast<unsigned>(kind);
  // acq_rel: either control, which clears the bit before it acts, sees the stamps stored before this, or we see the bit
  // cleared and post anew.
  if ((peer.pending_events.fetch_or(bit, std::memory_order_acq_rel) & bit) != 0) return true;
  if (context.mailbox->post_event({.kind = kind, .worker = context.id, .peer = peer.id})) return true;
  peer.pending_events.fetch_and(~bit, std::memory_order_acq_rel);
  return false;
}

void note_sent(const WorkerContext& context, Peer& peer, Traffic sent) noexcept {
  clear(peer.unacknowledged_data_received_since);
  if (peer.need_another_keepalive.load(std::memory_order_relaxed))
    peer.need_another_keepalive.store(false, std::memory_order_relaxed);
  if (sent.messages != 0) refresh(context.now, peer.last_sent_any);
  if (sent.data != 0) begin(context.now, peer.unanswered_data_sent_since);
}

void note_received(const WorkerContext& context, Peer& peer, Traffic received) noexcept {
  clear(peer.unanswered_data_sent_since);
  if (received.messages != 0) refresh(context.now, peer.last_received_any);
  if (received.data == 0) return;
  const bool first = begin(context.now, peer.unacknowledged_data_received_since);
  const bool more = !first || received.data > 1;
  if (more && !peer.need_another_keepalive.load(std::memory_order_relaxed))
    peer.need_another_keepalive.store(true, std::memory_order_relaxed);
}

}  // namespace sluice
