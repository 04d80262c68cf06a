#include "dataplane/pipeline/peer_activity.h"

namespace sluice {
bool post_once(WorkerContext& context, Peer& peer, EventKind kind) noexcept {
  const auto bit = static_cast<uint8_t>(1u << static_cast<unsigned>(kind));
  // acq_rel: either control, which clears the bit before it acts, sees the stamps stored before this, or we see the bit
  // cleared and post anew.
  if ((peer.pending_events.fetch_or(bit, std::memory_order_acq_rel) & bit) != 0) return true;
  if (context.mailbox->post_event({.kind = kind, .worker = context.id, .peer = peer.id})) return true;
  peer.pending_events.fetch_and(static_cast<uint8_t>(~bit), std::memory_order_acq_rel);
  return false;
}

}  // namespace sluice
