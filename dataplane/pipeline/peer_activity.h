// What workers tell control about a peer: the stamps its timers are evaluated from (their rules:
// control/noise/timers.h), in silence, and events that are pending at most once.
#pragma once

#include <cstdint>

#include "dataplane/pipeline/context.h"

namespace sluice {

// Asks control once, however many packets ask: the kind's bit in Peer::pending_events is set until control takes the
// event up. False: the event ring is full and nobody was told; ask again with the next packet.
bool post_once(WorkerContext& context, Peer& peer, EventKind kind) noexcept;

// --- Stamps. In line: with many peers every packet is a run of its own ---

struct Traffic {
  uint32_t messages = 0;  // authenticated ones, keepalives included
  uint32_t data = 0;      // those that were not empty
};

namespace stamps {

// Stored only when it changed by a tick: the line stays shared between workers under load.
inline void refresh(MonoTime now, std::atomic<int64_t>& stamp) noexcept {
  const int64_t before = stamp.load(std::memory_order_relaxed);
  if (before == 0 || now.ns - before >= kStampTick) stamp.store(now.ns, std::memory_order_relaxed);
}

// Marks the first of a series. True: this was it.
inline bool begin(MonoTime now, std::atomic<int64_t>& since) noexcept {
  if (since.load(std::memory_order_relaxed) != 0) return false;
  since.store(now.ns, std::memory_order_relaxed);
  return true;
}

inline void clear(std::atomic<int64_t>& since) noexcept {
  if (since.load(std::memory_order_relaxed) != 0) since.store(0, std::memory_order_relaxed);
}

}  // namespace stamps

inline void note_sent(const WorkerContext& context, Peer& peer, Traffic sent) noexcept {
  stamps::clear(peer.unacknowledged_data_received_since);
  if (peer.need_another_keepalive.load(std::memory_order_relaxed))
    peer.need_another_keepalive.store(false, std::memory_order_relaxed);
  if (sent.messages != 0) stamps::refresh(context.now, peer.last_sent_any);
  if (sent.data != 0) stamps::begin(context.now, peer.unanswered_data_sent_since);
}

inline void note_received(const WorkerContext& context, Peer& peer, Traffic received) noexcept {
  stamps::clear(peer.unanswered_data_sent_since);
  if (received.messages != 0) stamps::refresh(context.now, peer.last_received_any);
  if (received.data == 0) return;
  const bool first = stamps::begin(context.now, peer.unacknowledged_data_received_since);
  const bool more = !first || received.data > 1;
  if (more && !peer.need_another_keepalive.load(std::memory_order_relaxed))
    peer.need_another_keepalive.store(true, std::memory_order_relaxed);
}

}  // namespace sluice
