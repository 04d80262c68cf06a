// What the workers know of a peer. Control makes it in the PeerTable, publishes it and destroys it after a grace
// period, after all of its keypairs. The handshake's view of the peer is control's own.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "dataplane/base/strong.h"
#include "dataplane/session/keypair.h"
#include "dataplane/session/outer_route.h"

struct rte_ring;

namespace sluice {

inline constexpr unsigned kMaxWorkers = 64;

// A packet that arrived at a worker that does not own its keypair crosses here, once. One ring per peer and owning
// worker, made by control before it publishes the first keypair that this worker owns, when there is more than one
// worker. Producers: any worker (multi-producer). Consumer: the owner. Holds rte_mbuf*. `scheduled` is set by the
// producer that puts the peer's id into the owner's ready ring (exchange, acq_rel) and cleared by the owner before it
// drains (seq_cst, so that a packet enqueued after the drain sees it cleared and schedules again).
struct HandoffRing {
  rte_ring* ring = nullptr;
  std::atomic<bool> scheduled{false};
};

// The line that packets need of a peer. Senders and receivers write to it now and then: a stamp each tick, and when the
// traffic turns.
struct alignas(64) Peer {
  // Written by control, read by workers (acquire pairs with control's release store).
  std::atomic<SendingKey*> current{nullptr};      // the only one that is sent under
  std::atomic<const OuterRoute*> outer{nullptr};  // nullptr: no endpoint known
  PeerId id;
  TunnelId tunnel;

  std::atomic<bool> need_another_keepalive{false};  // a stamp, like those below
  // Bits of EventKind (pipeline/mailbox.h) already posted and not yet taken up: set by workers with fetch_or, cleared
  // by control before it acts, so that a thousand keyless packets ask for one handshake.
  std::atomic<uint8_t> pending_events{0};
  // Counts what `outer` has been, since memory is used again. Who sees a number sees the route that it came with, or a
  // later one.
  std::atomic<uint32_t> outer_serial{0};

  // Stamps: MonoTime.ns, written by workers (relaxed, only when changed by more than a tick), read and reset by control
  // (timers). See control/noise/timers.h for their meaning (protocol.md section 10).
  std::atomic<int64_t> last_sent_any{0};
  std::atomic<int64_t> last_received_any{0};
  std::atomic<int64_t> unanswered_data_sent_since{0};          // 0: nothing unanswered
  std::atomic<int64_t> unacknowledged_data_received_since{0};  // 0: nothing to acknowledge

  // Control only.
  void publish_outer(const OuterRoute* route) noexcept {
    outer.store(route, std::memory_order_release);
    outer_serial.fetch_add(1, std::memory_order_release);
  }
};
static_assert(sizeof(Peer) == 64);

// What there is of a peer besides, elsewhere (PeerTable::rest_of): peers' lines lie side by side.
struct PeerRest {
  // For packets that cross.
  uint16_t worker_count = 0;
  std::unique_ptr<std::atomic<HandoffRing*>[]>
      handoff;  // [worker_count], entries nullptr until needed; nullptr if one worker
  // For those that answer a peer that moves: whose key Peer::current is, stored a moment later.
  std::atomic<const Keypair*> session{nullptr};
  // UDP payload bytes as `wg show` counts them (protocol.md section 14), of handshakes and of sessions that are over;
  // those of a session are in its keypair. Control only.
  uint64_t rx_bytes = 0;
  uint64_t tx_bytes = 0;
};

// Stamps are not stored again within this time: it keeps their cache line shared under load.
inline constexpr int64_t kStampTick = 1'000'000;  // 1 ms

}  // namespace sluice
