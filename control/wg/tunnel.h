// A tunnel is a WireGuard device: an identity, a listen port, peers and their allowed IPs. The configuration file and
// the WireGuard socket change it through these functions; each takes effect at once for control and, for the workers,
// with the next publication (Wireguard::commit). Control thread only.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/noise/identity.h"
#include "control/wg/peer_control.h"
#include "dataplane/base/flat_index.h"
#include "dataplane/base/result.h"
#include "dataplane/pipeline/published.h"
#include "dataplane/session/allowed_ips.h"

namespace sluice {

class Wireguard;

class Tunnel {
 public:
  Tunnel(Wireguard& wireguard, TunnelId id, std::string name);
  ~Tunnel();
  Tunnel(const Tunnel&) = delete;
  Tunnel& operator=(const Tunnel&) = delete;

  TunnelId id() const noexcept { return id_; }
  const std::string& name() const noexcept { return name_; }

  // Identity (protocol.md section 15). A zero key is "none". Removes the peer whose public key becomes our own.
  void set_private_key(PrivateKey key);
  const std::optional<LocalIdentity>& identity() const noexcept { return identity_; }

  // 0: one is chosen. Error (EADDRINUSE): another tunnel has it; the old port stays.
  Result<void> set_listen_port(uint16_t port);
  uint16_t listen_port() const noexcept { return listen_port_; }
  void set_fwmark(uint32_t mark);
  uint32_t fwmark() const noexcept { return fwmark_; }
  // Whatever address our packets to the peers left from, Linux chooses anew (protocol.md section 11): routes, addresses
  // or what decides about them has changed.
  void forget_sources();
  void set_mtu(uint16_t mtu);
  uint16_t mtu() const noexcept { return mtu_; }
  void set_mss_clamp(bool on);
  // What the routes to the peers leave: the smallest route MTU less 80 (IPv6, UDP, WireGuard), as wg-quick reckons;
  // 1420 while no route is known; at least 1280.
  uint16_t derived_mtu() const noexcept;
  void set_derives_mtu(bool on);  // its interface is given that MTU whenever it changes
  bool derives_mtu() const noexcept { return derives_mtu_; }
  void set_dscp(std::optional<uint8_t> dscp);  // of outer data packets; none: copied from the inner ones
  void set_path_mtu_probe(bool on);
  bool path_mtu_probe() const noexcept { return path_mtu_probe_; }
  // Its interface's own addresses: probes come from there.
  void set_addresses(std::vector<IpAddress> addresses) { addresses_ = std::move(addresses); }
  const std::vector<IpAddress>& addresses() const noexcept { return addresses_; }

  // A tunnel whose packets come from and go to a port of its own instead of the forwarding table.
  void set_inner_port(PortId port) noexcept { inner_port_ = port; }

  // Admin state of its interface. Down drops keys, handshakes, staged packets and timers; up starts the timers.
  void set_up(bool up);
  bool up() const noexcept { return up_; }

  // Peers. add_peer: nullptr if the key is our own or there is no room.
  PeerControl* find(const PublicKey& key) noexcept;
  PeerControl* add_peer(const PublicKey& key);
  void remove_peer(const PublicKey& key);
  void remove_all_peers();
  const std::list<PeerControl>& peers() const noexcept { return peers_; }
  std::list<PeerControl>& peers() noexcept { return peers_; }

  void set_preshared_key(PeerControl& peer, PresharedKey key) noexcept;  // counts from the next handshake on
  void set_endpoint(PeerControl& peer, const Endpoint& endpoint);
  // The peer is known by a name, which stands for these addresses now, best first; none: that is not known yet. From
  // then on it is looked for at all of them when it does not answer.
  void set_addresses(PeerControl& peer, std::vector<Endpoint> addresses);
  // After the block that changed it (apply_peer): going from 0 to n sends a keepalive at once.
  void set_persistent_keepalive(PeerControl& peer, uint16_t seconds);
  // Peers may have the same allowed IPs; routes choose between them. Counts for what is added from now on.
  void share_allowed_ips(bool on) noexcept { allowed_ips_.share(on); }
  void replace_allowed_ips(PeerControl& peer);  // removes all of them
  void add_allowed_ip(PeerControl& peer, const Prefix& prefix);
  void remove_allowed_ip(PeerControl& peer, const Prefix& prefix);
  std::vector<Prefix> allowed_ips(const PeerControl& peer) const;
  // The end of a peer's settings: what became due is done, what is staged for it is tried again.
  void apply_peer(PeerControl& peer);

  TunnelView view();
  AllowedIps::Garbage take_garbage() { return allowed_ips_.take_garbage(); }

 private:
  Result<void> claim(uint16_t port);
  auto hash_of_slot() const noexcept;  // for by_key_
  void start_peer(PeerControl& peer);
  void stop_peer(PeerControl& peer);

  Wireguard& wireguard_;
  TunnelId id_;
  std::string name_;
  std::optional<LocalIdentity> identity_;
  uint16_t listen_port_ = 0;
  uint32_t fwmark_ = 0;
  uint16_t mtu_ = 1420;
  PortId inner_port_ = kNoPort;
  bool derives_mtu_ = false;
  bool mss_clamp_ = false;
  bool path_mtu_probe_ = false;
  std::optional<uint8_t> dscp_ = 0;
  std::vector<IpAddress> addresses_;
  bool up_ = false;
  AllowedIps allowed_ips_;
  std::list<PeerControl> peers_;  // in order of creation
  FlatIndex by_key_;              // their slots, by public key
};

}  // namespace sluice
