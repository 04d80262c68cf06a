// What workers tell control about a peer: the stamps its timers are evaluated from (their rules:
// control/noise/timers.h), in silence, and events that are pending at most once.
#pragma once

#include <cstdint>

#include "dataplane/pipeline/context.h"

namespace sluice {

// Asks control once, however many packets ask: the kind's bit in Peer::pending_events is set until control takes the
// event up. False: the event ring is full and nobody was told; ask again with the next packet.
bool post_once(WorkerContext& context, Peer& peer, EventKind kind) noexcept;

struct Traffic {
  uint32_t messages = 0;  // authenticated ones, keepalives included
  uint32_t data = 0;      // those that were not empty
};
void note_sent(const WorkerContext& context, Peer& peer, Traffic sent) noexcept;
void note_received(const WorkerContext& context, Peer& peer, Traffic received) noexcept;

}  // namespace sluice
