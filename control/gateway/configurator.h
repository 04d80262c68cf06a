// Brings the running gateway to what a configuration file says: the whole of it at start, the difference on reload. A
// file with mistakes, or a change that needs a restart, changes nothing. Control thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/diff.h"
#include "config/load.h"
#include "config/model.h"
#include "control/gateway/endpoint_names.h"
#include "control/gateway/linux_network.h"
#include "control/wg/wireguard.h"

namespace sluice {

class Configurator {
 public:
  struct Parts {  // everything here outlives it
    Wireguard& wireguard;
    LinuxNetwork& network;
    EndpointNames& names;
    Dataplane& dataplane;
    config::Machine machine;  // as it was before DPDK bound threads to cores
  };
  Configurator(Parts parts, std::shared_ptr<const config::Model> model);

  // At start: interfaces, addresses, routes, tunnels, peers. The first thing that does not work is the error.
  Result<void> apply_all();

  struct Reloaded {
    std::vector<std::string> applied;  // one line for each change
    std::vector<std::string> errors;   // not empty: nothing was changed, unless `applied` says so
  };
  Reloaded reload();

  const config::Model& model() const noexcept { return *model_; }

 private:
  Result<void> apply_port(const config::Port& port, PortId id);
  Result<void> apply_tunnel(const config::Tunnel& tunnel);
  Result<void> apply_route(const config::Route& route);
  void apply_delta(const config::Delta& delta, std::vector<std::string>& problems);
  void apply_tunnel_change(const config::TunnelChange& change, std::vector<std::string>& problems);
  void add_peer(Tunnel& tunnel, const config::Tunnel& wanted, const config::Peer& peer,
                std::vector<std::string>& problems);
  void change_peer(Tunnel& tunnel, const config::TunnelChange& change, const config::PeerChange& peer,
                   std::vector<std::string>& problems);
  void set_endpoint(Tunnel& tunnel, PeerControl& peer, const config::HostPort& endpoint);
  void install_routes(const Tunnel& tunnel, const std::vector<Prefix>& prefixes, std::vector<std::string>& problems);
  void remove_routes(const Tunnel& tunnel, const std::vector<Prefix>& prefixes);
  Mirror* interface(const std::string& name);

  Parts parts_;
  std::shared_ptr<const config::Model> model_;
};

}  // namespace sluice
