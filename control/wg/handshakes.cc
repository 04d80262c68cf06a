// Handshake messages, in and out (protocol.md sections 3 to 6): a datagram is admitted, understood, and only then
// committed to the peer; every drop has its name.
#include <rte_mbuf.h>

#include <utility>

#include "control/wg/outer_frame.h"
#include "control/wg/wireguard.h"
#include "dataplane/pipeline/packet.h"
#include "dataplane/wire/ip.h"

namespace sluice {
namespace {

constexpr unsigned kHandshakesPerTurn = 64;  // per worker: at some 100 us each a turn stays short
constexpr uint8_t kHandshakeTos = 0x88;      // AF41, Not-ECT, as Linux sends handshakes (protocol.md section 13)
constexpr uint8_t kCookieReplyTos = 0;

Drop initiation_drop(HandshakeError error) {
  switch (error) {
    case HandshakeError::kLowOrderKey:
      return Drop::initiation_low_order;
    case HandshakeError::kForgedStatic:
      return Drop::initiation_static;
    case HandshakeError::kReplayedTimestamp:
      return Drop::initiation_replay;
    case HandshakeError::kInitiationFlood:
      return Drop::initiation_flood;
    default:
      return Drop::initiation_timestamp;
  }
}

Drop response_drop(HandshakeError error) {
  switch (error) {
    case HandshakeError::kLowOrderKey:
      return Drop::response_low_order;
    case HandshakeError::kWrongReceiverIndex:
      return Drop::response_unknown_index;
    default:
      return Drop::response_authentication;
  }
}

template <class Message>
const Message& as(ConstBytes message) {  // classify() has checked the size
  return *reinterpret_cast<const Message*>(message.data());
}

}  // namespace

// --- in ---

bool Wireguard::drain_handshakes() {
  Dataplane& dataplane = parts_.dataplane;
  size_t waiting = 0;
  for (uint8_t w = 0; w < dataplane.worker_count(); ++w) waiting += dataplane.mailbox(WorkerId{w}).handshakes_waiting();
  const MonoTime t = now();
  admission_.observe_load(waiting, t);
  if (t - collected_at_ >= std::chrono::seconds(1)) {
    admission_.collect(t);
    collected_at_ = t;
  }
  bool more = false;
  for (uint8_t w = 0; w < dataplane.worker_count(); ++w) {
    rte_mbuf* packets[kHandshakesPerTurn];
    const unsigned n = dataplane.mailbox(WorkerId{w}).take_handshakes(packets, kHandshakesPerTurn);
    for (unsigned i = 0; i < n; ++i) {
      const OuterHeaders outer = outer_headers_of(packets[i]);
      const Whereabouts from = arrival(outer.remote, outer.local, meta(packets[i]).from.in_port);
      on_datagram({bytes_of(packets[i]), from, outer.local_port, WorkerId{w}});
      rte_pktmbuf_free(packets[i]);
    }
    more |= n == kHandshakesPerTurn;
  }
  return more;
}

void Wireguard::on_datagram(const Datagram& datagram) {
  const MessageType type = classify(datagram.message);
  if (type == MessageType::kCookieReply) return on_cookie_reply(datagram);
  Tunnel* tunnel = admit(datagram);
  if (!tunnel) return;
  if (type == MessageType::kInitiation) on_initiation(*tunnel, datagram);
  if (type == MessageType::kResponse) on_response(*tunnel, datagram);
}

// The tunnel that a message with a valid mac1 is for: among those that listen on its port, the one whose key the mac1
// was made with. nullptr: dropped, or answered with a cookie.
Tunnel* Wireguard::admit(const Datagram& datagram) {
  Drop reason = Drop::handshake_no_identity;
  for (const auto& tunnel : tunnels_) {
    if (!tunnel->up() || tunnel->listen_port() != datagram.listen_port || !tunnel->identity()) continue;
    const MonoTime t = now();
    switch (admission_.judge(*tunnel->identity(), datagram.message, datagram.from.remote, t)) {
      case Verdict::kAccept:
        return tunnel.get();
      case Verdict::kDropBadMac1:
        reason = Drop::handshake_mac1;
        continue;
      case Verdict::kDropRateLimited:
        drop(Drop::handshake_rate_limited);
        return nullptr;
      case Verdict::kSendCookie:
        drop(Drop::handshake_under_load);
        const CookieReplyMessage reply =
            admission_.cookie_reply(*tunnel->identity(), datagram.message, datagram.from.remote, t);
        transmit(
            parts_.routes.look_up({datagram.from.remote, datagram.from.local, datagram.listen_port, tunnel->fwmark()}),
            std::as_bytes(std::span(&reply, 1)), kCookieReplyTos, datagram.worker);
        return nullptr;
    }
  }
  drop(reason);
  return nullptr;
}

void Wireguard::on_initiation(Tunnel& tunnel, const Datagram& datagram) {
  const auto& message = as<InitiationMessage>(datagram.message);
  auto claimed = decrypt_initiation_static(*tunnel.identity(), message);
  if (!claimed) return drop(initiation_drop(claimed.error()));
  PeerControl* peer = tunnel.find(claimed->static_key);
  if (!peer) return drop(Drop::initiation_unknown_peer);
  const RemoteIdentity* remote = remote_identity(*peer);
  if (!remote) return drop(Drop::initiation_low_order);
  auto received = finish_initiation(std::move(*claimed), *remote, message);
  if (!received) return drop(initiation_drop(received.error()));
  const MonoTime t = now();
  Contact& contact = *peer->contact;
  if (const auto error = contact.guard.check(received->timestamp, t)) return drop(initiation_drop(*error));

  const Tai64n timestamp = received->timestamp;
  const auto index = reserve_index(*peer);
  if (!index) return drop(Drop::handshake_no_index);
  auto created = create_response(std::move(*received), *remote, peer->preshared_key, *index, parts_.rng);
  if (!created) {
    parts_.dataplane.sessions().release_index(*index);
    return drop(initiation_drop(created.error()));
  }
  // From here on the initiation is authentic, new and answerable: commit.
  contact.guard.commit(timestamp, t);
  forget_handshake(*peer);
  peer->home = parts_.dataplane.owner_of(*index, datagram.from.port, datagram.worker);
  move_endpoint(*peer, datagram.from);
  begin_session_as_responder(*peer, std::move(created->keys), peer->home);
  note_received(*peer, sizeof message);
  send_to_peer(*peer, std::as_writable_bytes(std::span(&created->message, 1)));
  contact.timers.session_derived(t);
  contact.timers.response_sent(t);
  evaluate_timers(*peer);
}

void Wireguard::on_response(Tunnel& tunnel, const Datagram& datagram) {
  const auto& message = as<ResponseMessage>(datagram.message);
  const auto it = by_handshake_index_.find(message.receiver_index.host());
  if (it == by_handshake_index_.end() || it->second->tunnel != &tunnel) return drop(Drop::response_unknown_index);
  PeerControl& peer = *it->second;
  Contact& contact = *peer.contact;
  auto keys = consume_response(*tunnel.identity(), peer.preshared_key, *contact.sent, message);
  if (!keys) return drop(response_drop(keys.error()));

  by_handshake_index_.erase(it);  // the keypair inherits the index
  contact.sent.reset();
  move_endpoint(peer, datagram.from);
  const WorkerId owner = parts_.dataplane.owner_of(keys->local_index, datagram.from.port, datagram.worker);
  begin_session_as_initiator(peer, std::move(*keys), owner);
  contact.timers.session_derived(now());
  contact.timers.handshake_complete();
  contact.last_handshake = parts_.clock.wall();
  note_received(peer, sizeof message);
  // The initiator speaks first: what is staged at the worker that asked for the handshake, or else an empty message.
  // That confirms the key to the other side.
  request_keepalive(peer);
  peer.home = owner;
  broadcast(CommandKind::kFlushStaged, peer.shared->id);
  evaluate_timers(peer);
  start_path_search(peer);
}

void Wireguard::on_cookie_reply(const Datagram& datagram) {
  const auto& message = as<CookieReplyMessage>(datagram.message);
  PeerControl* peer = find_by_index(message.receiver_index.host());
  const RemoteIdentity* remote = peer && peer->tunnel->identity() ? remote_identity(*peer) : nullptr;
  if (!remote) return drop(Drop::cookie_unknown_index);
  const auto error = peer->contact->cookies.consume(message, *remote, now());
  if (error) drop(*error == CookieError::kUnexpected ? Drop::cookie_unexpected : Drop::cookie_authentication);
}

// Of a handshake in progress or of a keypair: a cookie reply may answer either (protocol.md section 6).
PeerControl* Wireguard::find_by_index(uint32_t index) noexcept {
  if (const auto it = by_handshake_index_.find(index); it != by_handshake_index_.end()) return it->second;
  const ReceivingKey* key = parts_.dataplane.sessions().find(index);
  return key ? find_peer(key->peer->id) : nullptr;
}

// nullptr: the peer's key is of low order; nothing is ever sent to it or accepted from it.
const RemoteIdentity* Wireguard::remote_identity(PeerControl& peer) {
  auto& remote = contact(peer).remote;
  if (!remote) remote = RemoteIdentity::make(*peer.tunnel->identity(), peer.public_key);
  return remote->usable() ? &*remote : nullptr;
}

// --- out ---

Contact& Wireguard::contact(PeerControl& peer) {
  if (!peer.contact) {
    peer.contact = std::make_unique<Contact>();
    if (peer.tunnel->up()) peer.contact->timers.start(now());
  }
  return *peer.contact;
}

void Wireguard::start_handshake(PeerControl& peer) {
  if (peer.tunnel->up() && contact(peer).timers.start_handshake(now())) send_initiation(peer);
}

void Wireguard::send_initiation(PeerControl& peer) {
  if (!peer.tunnel->identity() || peer.at.remote.is_none()) return;
  const RemoteIdentity* remote = remote_identity(peer);
  if (!remote) return;
  const auto index = reserve_index(peer);
  if (!index) return;
  auto created =
      create_initiation(*peer.tunnel->identity(), *remote, *index, Tai64n::whitened(parts_.clock.wall()), parts_.rng);
  if (!created) {
    parts_.dataplane.sessions().release_index(*index);
    return;
  }
  forget_handshake(peer);
  peer.contact->sent.emplace(std::move(created->state));
  by_handshake_index_.emplace(*index, &peer);
  peer.contact->timers.initiation_sent(now(), parts_.rng);
  send_to_peer(peer, std::as_writable_bytes(std::span(&created->message, 1)));
  evaluate_timers(peer);
}

std::optional<uint32_t> Wireguard::reserve_index(const PeerControl& peer) {
  return parts_.dataplane.sessions().reserve_index(parts_.dataplane.worker_for(peer.shared->id));
}

void Wireguard::forget_handshake(PeerControl& peer) {
  if (!peer.contact) return;
  peer.contact->held_message.clear();
  auto& sent = peer.contact->sent;
  if (!sent) return;
  by_handshake_index_.erase(sent->local_index);
  parts_.dataplane.sessions().release_index(sent->local_index);
  sent.reset();
}

// An initiation or response: gets its macs and goes out, or is held while the next hop is being resolved. Either way it
// counts as sent, as it does where a kernel's neighbour queue holds it.
void Wireguard::send_to_peer(PeerControl& peer, Bytes message) {
  Contact& contact = *peer.contact;
  contact.cookies.add_macs(message, *contact.remote, now());
  stamp_sent(peer);
  const OuterRoute* route = peer.shared->outer.load(std::memory_order_relaxed);
  if (!route) return;
  const bool held = route->state == OuterRoute::State::kUnresolved;
  if (held) contact.held_message.assign(message.begin(), message.end());
  if (held || transmit(*route, message, kHandshakeTos, peer.home)) peer.rest->tx_bytes += message.size();
}

void Wireguard::send_held_message(PeerControl& peer) {
  const std::vector<std::byte> message = std::exchange(peer.contact->held_message, {});
  transmit(*peer.shared->outer.load(std::memory_order_relaxed), message, kHandshakeTos, peer.home);
}

bool Wireguard::transmit(const OuterRoute& route, ConstBytes message, uint8_t tos, WorkerId worker) {
  if (route.state != OuterRoute::State::kReady) {
    drop(Drop::no_outer_route);
    return false;
  }
  rte_mbuf* frame = make_outer_frame(parts_.dataplane.pool(), route, message, tos);
  if (!frame) {
    drop(Drop::no_buffer);
    return false;
  }
  Command command{};
  command.kind = CommandKind::kTransmit;
  command.port = route.port;
  command.packet = frame;
  if (parts_.dataplane.mailbox(worker).post_command(command)) return true;
  rte_pktmbuf_free(frame);
  drop(Drop::inbox_full);
  return false;
}

// Handshake messages are authenticated packets too: they stamp as data does (control/noise/timers.h).
void Wireguard::stamp_sent(PeerControl& peer) {
  Peer& shared = *peer.shared;
  shared.last_sent_any.store(now().ns, std::memory_order_relaxed);
  shared.unacknowledged_data_received_since.store(0, std::memory_order_relaxed);
  shared.need_another_keepalive.store(false, std::memory_order_relaxed);
}

void Wireguard::note_received(PeerControl& peer, size_t bytes) {
  Peer& shared = *peer.shared;
  peer.rest->rx_bytes += bytes;
  shared.last_received_any.store(now().ns, std::memory_order_relaxed);
  shared.unanswered_data_sent_since.store(0, std::memory_order_relaxed);
}

}  // namespace sluice
