// Two models -> what is to be done to get from one to the other. A delta points into both models and must not outlive
// them. The same file gives an empty delta; what is not listed keeps running untouched.
//
// Live: peers, [[route]], and a tunnel's private key, listen port, fwmark, addresses, MTU and its probing, MSS
// clamp, DSCP and route mode.
// Restart: [gateway], every [[port]], and tunnels that come or go (a renamed tunnel is both).
#pragma once

#include <string>
#include <vector>

#include "config/model.h"

namespace sluice::config {

struct PeerChange {  // matched by public key
  const Peer* from;
  const Peer* to;
  // What differs:
  bool name = false;           // display only
  bool preshared_key = false;  // counts from the next handshake on
  bool endpoint = false;       // changed or added in the file; `to->endpoint` may be none: keep what was learned
  bool allowed_ips = false;    // as a set; order does not count
  bool persistent_keepalive = false;

  bool empty() const { return !(name || preshared_key || endpoint || allowed_ips || persistent_keepalive); }
};

struct TunnelChange {  // matched by name
  const Tunnel* from;
  const Tunnel* to;
  bool private_key = false;
  bool listen_port = false;
  bool addresses = false;  // as a set
  bool mtu = false;
  bool mss_clamp = false;
  bool path_mtu_probe = false;
  bool shared_allowed_ips = false;
  bool dscp = false;
  bool routes = false;
  bool fwmark = false;
  std::vector<const Peer*> removed;  // in the old model
  std::vector<const Peer*> added;    // in the new model
  std::vector<PeerChange> changed;

  bool empty() const {
    const bool settings =
        private_key || listen_port || addresses || mtu || mss_clamp || path_mtu_probe || shared_allowed_ips || dscp;
    return !(settings || routes || fwmark) && removed.empty() && added.empty() && changed.empty();
  }
};

struct Delta {
  // One line for each change that a running gateway cannot make: "port lan: mtu 1500 -> 9000". Not empty: refuse the
  // whole reload and name them.
  std::vector<std::string> restart;
  std::vector<TunnelChange> tunnels;  // only those that change
  std::vector<const Route*> routes_removed;
  std::vector<const Route*> routes_added;

  bool empty() const { return restart.empty() && tunnels.empty() && routes_removed.empty() && routes_added.empty(); }
};

Delta diff(const Model& running, const Model& wanted);

// The live part in words, one line per change, for the log and `sluice reload`: "tunnel wg0: peer berlin: endpoint
// "vpn.example:51820" -> "192.0.2.7:51820"". Secrets are named, never shown.
std::vector<std::string> describe(const Delta& delta);

}  // namespace sluice::config
