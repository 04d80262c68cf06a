#include "control/gateway/endpoint_names.h"

#include <chrono>

namespace sluice {
namespace {

constexpr Nanoseconds kEvery = std::chrono::minutes(5);
constexpr Nanoseconds kWhileUnresolved = std::chrono::seconds(10);  // a network that is not up yet, say
constexpr Nanoseconds kLeast = std::chrono::seconds(10);            // between two questions on behalf of one peer

}  // namespace

void EndpointNames::set(PeerControl& peer, const config::HostPort& endpoint) {
  forget(peer);
  peer.tunnel->set_addresses(peer, {});
  const PeerId id = peer.shared->id;
  ask(id, names_[id] = Name{.endpoint = endpoint});
}

void EndpointNames::forget(PeerControl& peer) {
  erase(peer.shared->id);
  peer.choice.reset();
}

void EndpointNames::erase(PeerId peer) {
  const auto it = names_.find(peer);
  if (it == names_.end()) return;
  due_.erase({it->second.due, peer});
  names_.erase(it);
}

void EndpointNames::turn() {
  const MonoTime now = parts_.clock.now();
  for (const PeerId peer : parts_.wireguard.take_unanswered()) {
    const auto it = names_.find(peer);
    if (it != names_.end() && !it->second.asking && now - it->second.asked_at >= kLeast) ask(peer, it->second);
  }
  while (!due_.empty() && due_.begin()->first <= now) {
    const PeerId peer = due_.begin()->second;
    if (parts_.wireguard.find_peer(peer) != nullptr)
      ask(peer, names_.at(peer));
    else
      erase(peer);
  }
}

void EndpointNames::schedule(PeerId peer, Name& name, MonoTime due) {
  due_.erase({name.due, peer});
  name.due = due;
  if (!due.is_never()) due_.emplace(due, peer);
}

void EndpointNames::ask(PeerId peer, Name& name) {
  name.asking = true;
  name.asked_at = parts_.clock.now();
  schedule(peer, name, {});
  parts_.resolver.resolve(name.endpoint.host, [this, peer, asked = name.endpoint](std::vector<Endpoint> addresses) {
    on_answer(peer, asked, std::move(addresses));
  });
}

void EndpointNames::on_answer(PeerId id, const config::HostPort& asked, std::vector<Endpoint> addresses) {
  const auto it = names_.find(id);
  if (it == names_.end() || it->second.endpoint != asked) return;  // another was set meanwhile, or none
  Name& name = it->second;
  PeerControl* peer = parts_.wireguard.find_peer(id);
  if (peer == nullptr) return erase(id);
  name.asking = false;
  name.resolved |= !addresses.empty();
  schedule(id, name, parts_.clock.now() + (name.resolved ? kEvery : kWhileUnresolved));
  for (Endpoint& endpoint : addresses) endpoint.port = asked.port;
  peer->tunnel->set_addresses(*peer, std::move(addresses));
}

}  // namespace sluice
