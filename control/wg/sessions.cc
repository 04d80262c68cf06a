// The keypairs of a peer, from derivation to retirement (protocol.md section 8). A keypair is findable by workers
// before the other side can use it, and leaves the table a grace period before it is freed.
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <utility>

#include "control/wg/wireguard.h"

namespace sluice {
namespace {

constexpr unsigned kHandoffSlots = 128;

void free_handoff_ring(HandoffRing* handoff, DropCounters& drops) {
  void* packet;
  while (rte_ring_sc_dequeue(handoff->ring, &packet) == 0) {
    drops.add(Drop::handoff_stale);
    rte_pktmbuf_free(static_cast<rte_mbuf*>(packet));
  }
  rte_free(handoff->ring);
  delete handoff;
}

}  // namespace

std::unique_ptr<Keypair> Wireguard::make_keypair(PeerControl& peer, SessionKeys keys, WorkerId owner) {
  ensure_handoff_ring(*peer.rest, owner);
  auto keypair = std::make_unique<Keypair>(parts_.dataplane.sessions().reserved(keys.local_index));
  SendingKey& sending = *keypair->sending;
  sending.secret = std::move(keys.sending);
  sending.remote_index = keys.remote_index;
  sending.initiator = keys.initiator;
  ReceivingKey& receiving = keypair->receiving;
  receiving.secret = std::move(keys.receiving);
  receiving.peer = peer.shared;
  receiving.owner = owner;
  receiving.tunnel = peer.shared->tunnel;
  receiving.confirmed = receiving.last_minute_rekey = keys.initiator;
  keypair->set_birth(now());
  return keypair;
}

void Wireguard::begin_session_as_initiator(PeerControl& peer, SessionKeys keys, WorkerId owner) {
  auto keypair = make_keypair(peer, std::move(keys), owner);
  parts_.dataplane.sessions().publish(*keypair);
  std::unique_ptr<Keypair> old = set_current(peer, std::move(keypair));
  Contact& contact = *peer.contact;
  retire_keypair(std::move(contact.previous));
  if (contact.next) {  // a session that the other side began and never confirmed
    contact.previous = std::move(contact.next);
    retire_keypair(std::move(old));
  } else {
    contact.previous = std::move(old);
  }
}

void Wireguard::begin_session_as_responder(PeerControl& peer, SessionKeys keys, WorkerId owner) {
  auto keypair = make_keypair(peer, std::move(keys), owner);
  parts_.dataplane.sessions().publish(*keypair);  // before the response goes out
  retire_keypair(std::move(peer.contact->next));
  retire_keypair(std::move(peer.contact->previous));
  peer.contact->next = std::move(keypair);
}

// The first authentic packet under `index` arrived. If that is the unconfirmed session it becomes the current one.
void Wireguard::confirm_key(PeerControl& peer, uint32_t index) {
  Contact& contact = *peer.contact;  // there is one: a worker has met a keypair of the peer
  if (!contact.next || contact.next->receiving.local_index != index) return;
  retire_keypair(std::move(contact.previous));
  contact.previous = set_current(peer, std::move(contact.next));
  contact.timers.handshake_complete();
  contact.last_handshake = parts_.clock.wall();
  broadcast(CommandKind::kFlushStaged, peer.shared->id);
  evaluate_timers(peer);
  start_path_search(peer);
}

// Returns the one that was current. Workers stop using it here, before the caller may retire it: a grace period that
// began while they could still pick it up would protect nobody.
std::unique_ptr<Keypair> Wireguard::set_current(PeerControl& peer, std::unique_ptr<Keypair> keypair) {
  parts_.dataplane.peers().begin_session(*peer.shared, keypair.get());
  return std::exchange(peer.contact->current, std::move(keypair));
}

void Wireguard::drop_keypairs(PeerControl& peer) {
  if (!peer.contact) return;
  Contact& contact = *peer.contact;
  parts_.dataplane.peers().begin_session(*peer.shared, nullptr);
  retire_keypair(std::move(contact.current));
  retire_keypair(std::move(contact.previous));
  retire_keypair(std::move(contact.next));
}

// Not found any more from now on; freed, wiped, and its index free again, after a grace period. The caller has taken it
// out of Peer::current, if it was there.
void Wireguard::retire_keypair(std::unique_ptr<Keypair> keypair) {
  if (!keypair) return;
  SessionTable& sessions = parts_.dataplane.sessions();
  sessions.withdraw(keypair->receiving.local_index);
  // What workers count from now on is added in the end.
  PeerRest& peer = parts_.dataplane.peers().rest_of(*keypair->receiving.peer);
  const uint64_t received = keypair->receiving.bytes.load(std::memory_order_relaxed);
  const uint64_t sent = keypair->sending->bytes.load(std::memory_order_relaxed);
  peer.rx_bytes += received;
  peer.tx_bytes += sent;
  parts_.dataplane.retire(
      [&sessions, &peer, received, sent, owned = std::shared_ptr<Keypair>(std::move(keypair))]() mutable {
        peer.rx_bytes += owned->receiving.bytes.load(std::memory_order_relaxed) - received;
        peer.tx_bytes += owned->sending->bytes.load(std::memory_order_relaxed) - sent;
        const uint32_t index = owned->receiving.local_index;
        owned.reset();
        sessions.release_index(index);
      });
}

// Made before the first keypair that `owner` owns is published; lives as long as the peer.
void Wireguard::ensure_handoff_ring(PeerRest& peer, WorkerId owner) {
  if (peer.worker_count < 2) return;
  if (!peer.handoff) peer.handoff = std::make_unique<std::atomic<HandoffRing*>[]>(peer.worker_count);
  if (peer.handoff[owner.value].load(std::memory_order_relaxed)) return;
  const auto size = static_cast<size_t>(rte_ring_get_memsize(kHandoffSlots));
  auto* ring = static_cast<rte_ring*>(rte_malloc("handoff", size, RTE_CACHE_LINE_SIZE));
  if (!ring) return;  // without it packets for this owner that arrive elsewhere are dropped as handoff_full
  rte_ring_init(ring, "handoff", kHandoffSlots, RING_F_SC_DEQ);
  auto handoff = std::make_unique<HandoffRing>();
  handoff->ring = ring;
  peer.handoff[owner.value].store(handoff.release(), std::memory_order_release);
}

void Wireguard::register_peer(PeerControl& peer) {
  const uint32_t slot = peer.shared->id.slot;
  if (slot >= by_slot_.size()) by_slot_.resize(slot + 1);
  by_slot_[slot] = &peer;
  parts_.dataplane.peers().publish(*peer.shared);
}

// The caller has stopped it: no keypair is left. The shared part goes after the workers have seen a root without the
// peer's allowed IPs, because until then they may look its slot up.
void Wireguard::unregister_peer(PeerControl& peer) {
  const PeerId id = peer.shared->id;
  by_slot_[id.slot] = nullptr;
  if (peer.contact && !peer.contact->deadline.is_never()) deadlines_.erase({peer.contact->deadline, id.slot});
  if (!peer.path_deadline.is_never()) path_deadlines_.erase({peer.path_deadline, id.slot});
  route_mtus_changed_ = true;
  parts_.dataplane.peers().withdraw(id);
  // Runs possibly after this object is gone: it holds on to what outlives it only.
  retire_after_publish_.push_back(
      [&dataplane = parts_.dataplane, &drops = parts_.drops, &gone = *peer.shared, &rest = *peer.rest] {
        for (unsigned w = 0; rest.handoff && w < rest.worker_count; ++w)
          if (HandoffRing* handoff = rest.handoff[w].load(std::memory_order_relaxed)) free_handoff_ring(handoff, drops);
        delete gone.outer.load(std::memory_order_relaxed);
        dataplane.peers().destroy(gone);
      });
  mark_dirty();
}

}  // namespace sluice
