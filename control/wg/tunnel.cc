#include "control/wg/tunnel.h"

#include <algorithm>
#include <cerrno>

#include "control/wg/wireguard.h"
#include "dataplane/crypto/primitives.h"
#include "dataplane/wire/ip.h"
#include "dataplane/wire/limits.h"

namespace sluice {
namespace {

constexpr unsigned kPortTries = 64;  // when any port will do

}  // namespace

Tunnel::Tunnel(Wireguard& wireguard, TunnelId id, std::string name)
    : wireguard_(wireguard), id_(id), name_(std::move(name)) {}

Tunnel::~Tunnel() { remove_all_peers(); }

// --- identity and listen port ---

void Tunnel::set_private_key(PrivateKey key) {
  if (!key.is_zero()) clamp(key);
  if (identity_ ? identity_->private_key.equals(key) : key.is_zero()) return;
  identity_ = LocalIdentity::make(std::move(key));
  if (identity_) remove_peer(identity_->public_key);
  for (PeerControl& peer : peers_) {
    wireguard_.forget_handshake(peer);
    if (Contact* contact = peer.contact.get()) {
      contact->remote.reset();
      contact->timers.private_key_changed();
      // Sessions under the old key go on receiving, but are not sent under any more.
      if (contact->current) contact->current->sending->usable.store(false, std::memory_order_relaxed);
      if (contact->next) contact->next->sending->usable.store(false, std::memory_order_relaxed);
    }
    if (up_ && identity_) wireguard_.flush_staged(peer);
  }
  wireguard_.mark_dirty();
}

Result<void> Tunnel::set_listen_port(uint16_t port) {
  if (port != 0 && port == listen_port_) return {};
  const bool any = port == 0;
  if (any) port = wireguard_.draw_listen_port();
  Result<void> claimed = claim(port);
  for (unsigned tries = 1; any && !claimed && tries < kPortTries; ++tries) {
    port = wireguard_.draw_listen_port();
    claimed = claim(port);
  }
  if (!claimed) return claimed;
  listen_port_ = port;
  forget_sources();
  wireguard_.mark_dirty();
  return {};
}

void Tunnel::set_fwmark(uint32_t mark) {
  if (mark == fwmark_) return;
  fwmark_ = mark;
  wireguard_.set_mark(id_, mark);
  forget_sources();
}

void Tunnel::forget_sources() {
  for (PeerControl& peer : peers_) {
    peer.at.local = {};
    wireguard_.update_outer(peer);
  }
}

Result<void> Tunnel::claim(uint16_t port) {
  if (!wireguard_.listen_port_taken(port, *this)) return wireguard_.claim_port(id_, port);
  return Error{"tunnel " + name_ + ": listen port " + std::to_string(port) + " belongs to another tunnel", EADDRINUSE};
}

void Tunnel::set_mtu(uint16_t mtu) {
  if (mtu_ == mtu) return;
  mtu_ = mtu;
  wireguard_.mark_dirty();
}

void Tunnel::set_mss_clamp(bool on) {
  if (mss_clamp_ == on) return;
  mss_clamp_ = on;
  wireguard_.mark_dirty();
}

uint16_t Tunnel::derived_mtu() const noexcept {
  constexpr unsigned kOverhead = sizeof(Ipv6Header) + sizeof(UdpHeader) + kDataOverhead, kUnknown = 1420;
  unsigned smallest = UINT16_MAX;
  for (const PeerControl& peer : peers_)
    if (peer.path.route != 0) smallest = std::min<unsigned>(smallest, peer.path.route);
  const unsigned mtu = smallest == UINT16_MAX ? kUnknown : smallest - std::min(kOverhead, smallest);
  return static_cast<uint16_t>(std::max<unsigned>(mtu, kMinPathMtu));
}

void Tunnel::set_derives_mtu(bool on) {
  derives_mtu_ = on;
  wireguard_.route_mtus_changed();
}

void Tunnel::set_dscp(std::optional<uint8_t> dscp) {
  if (dscp_ == dscp) return;
  dscp_ = dscp;
  wireguard_.mark_dirty();
}

void Tunnel::set_path_mtu_probe(bool on) {
  if (path_mtu_probe_ == on) return;
  path_mtu_probe_ = on;
  for (PeerControl& peer : peers_) on ? wireguard_.start_path_search(peer) : wireguard_.stop_path_search(peer);
}

void Tunnel::set_up(bool up) {
  if (up_ == up) return;
  up_ = up;
  for (PeerControl& peer : peers_) {
    // Going up too: a worker may have staged packets after it discarded them and before it saw the tunnel down.
    wireguard_.broadcast(CommandKind::kDiscardStaged, peer.shared->id);
    up ? start_peer(peer) : stop_peer(peer);
  }
  wireguard_.mark_dirty();
}

// --- peers ---

auto Tunnel::hash_of_slot() const noexcept {
  return [this](uint32_t slot) { return PublicKeyHash()(wireguard_.at_slot(slot)->public_key); };
}

PeerControl* Tunnel::find(const PublicKey& key) noexcept {
  const auto slot = by_key_.find(PublicKeyHash()(key),
                                 [&](uint32_t number) { return wireguard_.at_slot(number)->public_key == key; });
  return slot ? wireguard_.at_slot(*slot) : nullptr;
}

PeerControl* Tunnel::add_peer(const PublicKey& key) {
  if (PeerControl* known = find(key)) return known;
  if (identity_ && identity_->public_key == key) return nullptr;
  Peer* shared = wireguard_.dataplane().peers().make();
  if (shared == nullptr) return nullptr;

  PeerControl& peer = peers_.emplace_back();
  peer.place = std::prev(peers_.end());
  peer.tunnel = this;
  peer.public_key = key;
  peer.shared = shared;
  peer.shared->tunnel = id_;
  peer.rest = &wireguard_.dataplane().peers().rest_of(*shared);
  peer.rest->worker_count = wireguard_.dataplane().worker_count();
  peer.home = wireguard_.dataplane().worker_for(shared->id);
  wireguard_.register_peer(peer);
  by_key_.insert(shared->id.slot, hash_of_slot());
  if (up_) start_peer(peer);
  return &peer;
}

void Tunnel::remove_peer(const PublicKey& key) {
  PeerControl* found = find(key);
  if (found == nullptr) return;
  PeerControl& peer = *found;
  const PeerId id = peer.shared->id;
  stop_peer(peer);
  allowed_ips_.erase_peer(id.slot);
  by_key_.erase(id.slot, hash_of_slot());
  wireguard_.unregister_peer(peer);
  // Only now: workers do not find the peer any more, so that nothing is staged after it was discarded.
  wireguard_.broadcast(CommandKind::kDiscardStaged, id);
  peers_.erase(peer.place);
  wireguard_.mark_dirty();
}

void Tunnel::remove_all_peers() {
  while (!peers_.empty()) {
    const PublicKey key = peers_.front().public_key;  // a copy: remove_peer destroys the original
    remove_peer(key);
  }
}

void Tunnel::start_peer(PeerControl& peer) {
  if (peer.contact) peer.contact->timers.start(wireguard_.now());
  wireguard_.evaluate_timers(peer);
}

void Tunnel::stop_peer(PeerControl& peer) {
  if (peer.contact) peer.contact->timers.stop();
  wireguard_.forget_handshake(peer);
  wireguard_.drop_keypairs(peer);
  // What was owed when it stopped is not owed when it starts again.
  peer.shared->unanswered_data_sent_since.store(0, std::memory_order_relaxed);
  peer.shared->unacknowledged_data_received_since.store(0, std::memory_order_relaxed);
  peer.shared->need_another_keepalive.store(false, std::memory_order_relaxed);
  wireguard_.evaluate_timers(peer);
}

// --- settings of a peer ---

void Tunnel::set_preshared_key(PeerControl& peer, PresharedKey key) noexcept { peer.preshared_key = std::move(key); }

void Tunnel::set_endpoint(PeerControl& peer, const Endpoint& endpoint) {
  wireguard_.move_endpoint(peer, Whereabouts{endpoint, {}, kNoPort});
}

void Tunnel::set_addresses(PeerControl& peer, std::vector<Endpoint> addresses) {
  if (!peer.choice) peer.choice = std::make_unique<EndpointChoice>();
  if (addresses.empty()) return;
  const MonoTime heard = peer.stamps().last_received_any;
  const bool answers = peer.contact && peer.contact->timers.attempts() == 0 && !heard.is_never() &&
                       wireguard_.now() - heard < kRejectAfterTime;
  const auto endpoint = peer.choice->on_resolved(std::move(addresses), peer.at.remote, answers,
                                                 [&](const Endpoint& e) { return wireguard_.is_routed(peer, e); });
  if (!endpoint) return;
  set_endpoint(peer, *endpoint);
  apply_peer(peer);
}

void Tunnel::set_persistent_keepalive(PeerControl& peer, uint16_t seconds) {
  peer.persistent_keepalive = seconds;
  if (seconds == 0 && !peer.contact) return;
  wireguard_.contact(peer).timers.set_persistent_keepalive(std::chrono::seconds(seconds), peer.stamps(),
                                                           wireguard_.now());
}

void Tunnel::replace_allowed_ips(PeerControl& peer) {
  allowed_ips_.erase_peer(peer.shared->id.slot);
  wireguard_.mark_dirty();
}

void Tunnel::add_allowed_ip(PeerControl& peer, const Prefix& prefix) {
  allowed_ips_.insert(prefix, peer.shared->id.slot);
  wireguard_.mark_dirty();
}

void Tunnel::remove_allowed_ip(PeerControl& peer, const Prefix& prefix) {
  if (allowed_ips_.erase(prefix, peer.shared->id.slot)) wireguard_.mark_dirty();
}

std::vector<Prefix> Tunnel::allowed_ips(const PeerControl& peer) const {
  return allowed_ips_.list(peer.shared->id.slot);
}

void Tunnel::apply_peer(PeerControl& peer) {
  if (!up_) return;
  wireguard_.evaluate_timers(peer);
  wireguard_.flush_staged(peer);
}

TunnelView Tunnel::view() {
  TunnelView view{id_, up_, listen_port_, mtu_, inner_port_, mss_clamp_};
  view.dscp_copied = dscp_ ? 0 : kDscpMask;
  view.dscp_fixed = dscp_ ? static_cast<uint8_t>(*dscp_ << 2) : uint8_t{0};
  view.allowed_ips = allowed_ips_.view();
  view.shared_owners = allowed_ips_.shared();
  return view;
}

}  // namespace sluice
