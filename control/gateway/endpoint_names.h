// Endpoints that the configuration gives as names: each is resolved at once, every few minutes, and when its peer does
// not answer. What becomes of the addresses is the tunnel's business (Tunnel::set_addresses). Control thread only.
#pragma once

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "config/model.h"
#include "control/gateway/resolver.h"
#include "control/wg/wireguard.h"

namespace sluice {

class EndpointNames {
 public:
  struct Parts {  // everything here outlives it
    Wireguard& wireguard;
    Resolver& resolver;
    const Clock& clock;
  };
  explicit EndpointNames(const Parts& parts) : parts_(parts) {}

  // In place of the peer's earlier one.
  void set(PeerControl& peer, const config::HostPort& endpoint);
  void forget(PeerControl& peer);  // the peer is known by an address

  // Asks what is due, and on behalf of peers that do not answer.
  void turn();
  MonoTime next_deadline() const noexcept { return due_.empty() ? MonoTime{} : due_.begin()->first; }

 private:
  struct Name {
    config::HostPort endpoint;
    bool resolved = false;  // at some time
    bool asking = false;
    MonoTime asked_at;
    MonoTime due;
  };
  void ask(PeerId peer, Name& name);
  void schedule(PeerId peer, Name& name, MonoTime due);
  void erase(PeerId peer);
  void on_answer(PeerId peer, const config::HostPort& asked, std::vector<Endpoint> addresses);

  Parts parts_;
  std::map<PeerId, Name> names_;
  std::set<std::pair<MonoTime, PeerId>> due_;
};

}  // namespace sluice
