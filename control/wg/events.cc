// What workers report, and what is due by time.
#include "control/wg/wireguard.h"

namespace sluice {
namespace {

constexpr unsigned kEventsPerTurn = 256;
constexpr unsigned kTimersPerTurn = 256;
constexpr unsigned kRoutesPerTurn = 512;
constexpr uint16_t kFirstDynamicPort = 49152;

bool same_way(const OuterRoute& a, const OuterRoute& b) {
  return a.remote == b.remote && a.local == b.local && a.state == b.state && a.port == b.port && a.mtu == b.mtu &&
         a.header_size == b.header_size && a.header == b.header;
}

}  // namespace

Wireguard::Wireguard(Parts parts) : parts_(parts), admission_(parts.rng, parts.load_threshold) {}

Wireguard::~Wireguard() {
  tunnels_.clear();
  published();  // no worker runs any more: what is retired now is freed by Dataplane::drain
}

Tunnel* Wireguard::add_tunnel(const std::string& name) {
  if (find_tunnel(name)) return nullptr;
  const TunnelId id{static_cast<uint16_t>(tunnels_.size())};
  tunnels_.push_back(std::make_unique<Tunnel>(*this, id, name));
  mark_dirty();
  return tunnels_.back().get();
}

Tunnel* Wireguard::find_tunnel(const std::string& name) noexcept {
  for (const auto& tunnel : tunnels_)
    if (tunnel->name() == name) return tunnel.get();
  return nullptr;
}

PeerControl* Wireguard::find_peer(PeerId id) noexcept {
  PeerControl* peer = id.slot < by_slot_.size() ? by_slot_[id.slot] : nullptr;
  return peer && peer->shared->id == id ? peer : nullptr;
}

bool Wireguard::listen_port_taken(uint16_t port, const Tunnel& except) const noexcept {
  for (const auto& tunnel : tunnels_)
    if (tunnel.get() != &except && tunnel->listen_port() == port) return true;
  return false;
}

// Of the dynamic ports (RFC 6335, section 6).
uint16_t Wireguard::draw_listen_port() noexcept {
  return static_cast<uint16_t>(kFirstDynamicPort + parts_.rng.below(65536 - kFirstDynamicPort));
}

void Wireguard::published() {
  dirty_ = false;
  for (const auto& tunnel : tunnels_) {
    AllowedIps::Garbage garbage = tunnel->take_garbage();
    if (!garbage.empty())
      parts_.dataplane.retire([owned = std::make_shared<AllowedIps::Garbage>(std::move(garbage))] {});
  }
  for (auto& free_it : retire_after_publish_) parts_.dataplane.retire(std::move(free_it));
  retire_after_publish_.clear();
}

// --- events ---

bool Wireguard::drain_events() {
  bool more = false;
  for (uint8_t w = 0; w < parts_.dataplane.worker_count(); ++w) {
    Event events[kEventsPerTurn];
    const unsigned n = parts_.dataplane.mailbox(WorkerId{w}).take_events(events, kEventsPerTurn);
    for (unsigned i = 0; i < n; ++i) on_event(events[i]);
    more |= n == kEventsPerTurn;
  }
  return more;
}

void Wireguard::on_event(const Event& event) {
  PeerControl* peer = find_peer(event.peer);
  if (!peer) return;  // removed in the meantime
  // Cleared before acting (acq_rel: pairs with the workers' fetch_or), so that what comes after is posted again.
  peer->shared->pending_events.fetch_and(static_cast<uint8_t>(~(1u << static_cast<unsigned>(event.kind))),
                                         std::memory_order_acq_rel);
  switch (event.kind) {
    case EventKind::kNeedHandshake:
      peer->home = event.worker;  // what waits for the handshake waits there
      start_handshake(*peer);
      break;
    case EventKind::kKeyConfirmed:
      confirm_key(*peer, event.index);
      break;
    case EventKind::kEndpointMoved:
      move_endpoint(*peer, arrival(event.remote, event.local, event.port));
      break;
  }
  evaluate_timers(*peer);
}

void Wireguard::broadcast(CommandKind kind, PeerId peer) {
  for (uint8_t w = 0; w < parts_.dataplane.worker_count(); ++w) {
    Command command{};
    command.kind = kind;
    command.peer = peer;
    post(WorkerId{w}, command);
  }
}

// Commands without a packet are never lost: what the inbox does not take waits here.
void Wireguard::post(WorkerId worker, const Command& command) {
  if (!unposted_.empty() || !parts_.dataplane.mailbox(worker).post_command(command))
    unposted_.push_back({worker, command});
}

bool Wireguard::post_waiting_commands() {
  while (!unposted_.empty() &&
         parts_.dataplane.mailbox(unposted_.front().worker).post_command(unposted_.front().command))
    unposted_.pop_front();
  return !unposted_.empty();
}

// Whoever stages for a peer without keys asks for a handshake, and what comes of that is tried then. So without any
// contact there is nothing to try, and a hundred thousand peers are loaded without as many commands to each worker.
void Wireguard::flush_staged(const PeerControl& peer) {
  if (peer.contact) broadcast(CommandKind::kFlushStaged, peer.shared->id);
}

void Wireguard::request_keepalive(PeerControl& peer) {
  Command command{};
  command.kind = CommandKind::kKeepalive;
  command.peer = peer.shared->id;
  post(peer.home, command);
}

// --- timers ---

bool Wireguard::run_timers() {
  const MonoTime t = now();
  const auto is_due = [&](const auto& queue) { return !queue.empty() && queue.begin()->first <= t; };
  for (unsigned n = 0; n < kTimersPerTurn; ++n) {
    const bool timers = is_due(deadlines_), path = is_due(path_deadlines_);
    if (!timers && !path) return false;
    if (timers) evaluate_timers(*by_slot_[deadlines_.begin()->second]);
    if (path) evaluate_path(*by_slot_[path_deadlines_.begin()->second]);
  }
  return true;
}

MonoTime Wireguard::next_deadline() const noexcept {
  if (deadlines_.empty() || path_deadlines_.empty())
    return !deadlines_.empty()       ? deadlines_.begin()->first
           : path_deadlines_.empty() ? MonoTime{}
                                     : path_deadlines_.begin()->first;
  return std::min(deadlines_.begin()->first, path_deadlines_.begin()->first);
}

// Does what is due for the peer and puts it where its next deadline belongs.
void Wireguard::evaluate_timers(PeerControl& peer) {
  if (!peer.contact) return;
  Contact& contact = *peer.contact;
  Peer& shared = *peer.shared;
  const MonoTime t = now();
  const TimerActions due = contact.timers.evaluate(peer.stamps(), t, parts_.rng);
  if (contact.deadline != due.next_deadline) {
    if (!contact.deadline.is_never()) deadlines_.erase({contact.deadline, shared.id.slot});
    contact.deadline = due.next_deadline;
    if (!contact.deadline.is_never()) deadlines_.emplace(contact.deadline, shared.id.slot);
  }
  if (due.clear_unanswered_data) shared.unanswered_data_sent_since.store(0, std::memory_order_relaxed);
  if (due.clear_unacknowledged_data) {
    shared.unacknowledged_data_received_since.store(0, std::memory_order_relaxed);
    shared.need_another_keepalive.store(false, std::memory_order_relaxed);
  }
  if (due.give_up) broadcast(CommandKind::kDiscardStaged, shared.id);
  if (due.zero_keys) {
    forget_handshake(peer);
    drop_keypairs(peer);
  }
  if (due.forget_cached_source) {
    peer.at.local = {};
    update_outer(peer);
  }
  if (due.send_initiation) {
    if (peer.choice && contact.timers.attempts() > 0) try_next_address(peer);
    send_initiation(peer);
  }
  if (due.send_keepalive) {
    const Keypair* current = contact.current.get();
    const bool usable = current != nullptr && current->sending->usable.load(std::memory_order_relaxed) &&
                        t - current->birth() < kRejectAfterTime;
    usable ? request_keepalive(peer) : start_handshake(peer);
  }
}

// --- endpoints ---

// Workers know addresses and ports; a link-local address means nothing without the link it is on. (A socket knows it.)
Whereabouts Wireguard::arrival(Endpoint remote, const IpAddress& local, PortId port) const noexcept {
  const bool link_local = remote.address.is_ipv6() && remote.address.is_link_local();
  if (const uint32_t scope = link_local ? parts_.routes.scope_of(port) : 0; scope != 0) remote.scope = scope;
  return {remote, local, port};
}

void Wireguard::move_endpoint(PeerControl& peer, const Whereabouts& whereabouts) {
  peer.at = whereabouts;
  update_outer(peer);
}

void Wireguard::try_next_address(PeerControl& peer) {
  unanswered_.push_back(peer.shared->id);
  const auto next =
      peer.choice->on_unanswered(peer.at.remote, [&](const Endpoint& endpoint) { return is_routed(peer, endpoint); });
  if (next) move_endpoint(peer, Whereabouts{*next, {}, kNoPort});
}

bool Wireguard::is_routed(const PeerControl& peer, const Endpoint& endpoint) const {
  return parts_.routes.look_up({endpoint, {}, peer.tunnel->listen_port(), peer.tunnel->fwmark()}).state !=
         OuterRoute::State::kNoRoute;
}

// Replies leave from the address that was asked, unless they leave by another port than the question came in by: then
// the address of that way is the right one (protocol.md section 11).
OuterRoute Wireguard::resolve(const PeerControl& peer) {
  OuterQuery query{peer.at.remote, peer.at.local, peer.tunnel->listen_port(), peer.tunnel->fwmark()};
  OuterRoute route = parts_.routes.resolve(query);
  const bool other_way = peer.at.port != kNoPort && route.port != kNoPort && route.port != peer.at.port;
  if (!other_way) return route;
  query.local = {};
  return parts_.routes.resolve(query);
}

// Resolves the endpoint anew and, if the answer differs, swaps the workers' header template.
void Wireguard::update_outer(PeerControl& peer) {
  if (peer.at.remote.is_none()) return;
  auto route = std::make_unique<OuterRoute>(resolve(peer));
  limit_by_path(peer, *route);
  const OuterRoute* old = peer.shared->outer.load(std::memory_order_relaxed);
  if (old && same_way(*old, *route)) return;
  const bool became_ready =
      route->state == OuterRoute::State::kReady && (!old || old->state != OuterRoute::State::kReady);
  const bool way_opened =
      route->state != OuterRoute::State::kNoRoute && old && old->state == OuterRoute::State::kNoRoute;
  peer.shared->publish_outer(route.release());
  if (old) parts_.dataplane.retire([old] { delete old; });
  if (way_opened) on_way_opened(peer);
  if (!became_ready) return;
  if (peer.contact && !peer.contact->held_message.empty()) send_held_message(peer);
  flush_staged(peer);
}

// There was no way to the peer, and now there is: a lease has come, an address has moved here (VRRP), a cable is back.
// Who wants to stay connected starts over at once instead of with the next retry. A session from before is no reason
// not to: the peer may have another one by now, with the gateway that was at this address in the meantime.
void Wireguard::on_way_opened(PeerControl& peer) {
  if (peer.persistent_keepalive == 0 && !(peer.contact && peer.contact->sent)) return;
  contact(peer).timers.way_opened();
  start_handshake(peer);
}

void Wireguard::on_routes_changed() noexcept { refresh_slot_ = 0; }

bool Wireguard::refresh_routes() {
  for (unsigned n = 0; n < kRoutesPerTurn && refresh_slot_ != UINT32_MAX; ++n) {
    if (refresh_slot_ >= by_slot_.size()) {
      refresh_slot_ = UINT32_MAX;
      break;
    }
    if (PeerControl* peer = by_slot_[refresh_slot_++]) update_outer(*peer);
  }
  return refresh_slot_ != UINT32_MAX;
}

}  // namespace sluice
