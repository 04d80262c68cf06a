// A whole gateway in the bench's hand: the data plane with its real workers, the WireGuard side of control, the
// forwarding table made from what a Linux would say, around ports in memory. Nothing runs unless the bench calls it,
// or launches the workers with dataplane().start().
//
//   lan   10.1.0.1/16, 64 hosts on it with resolved neighbours         wan   198.51.100.1/24, default route by a router
//   wg0   10.2.0.0/16 (a site) and 10.128.0.0/9 (single hosts) lead into it
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "control/gateway/publisher.h"
#include "control/linux/fib_builder.h"
#include "control/linux/network_model.h"
#include "control/wg/wireguard.h"
#include "dataplane/worker/dataplane.h"
#include "tests/bench/memory_port.h"

namespace sluice::bench {

inline constexpr uint16_t kListenPort = 51820;
inline constexpr unsigned kLanHosts = 64;
inline constexpr Mac kWanMac{{2, 0, 0, 0, 0, 1}}, kLanMac{{2, 0, 0, 0, 0, 2}}, kRouterMac{{2, 0, 0, 0, 0, 9}},
    kHostMac{{2, 0, 0, 0, 1, 0}};

IpAddress lan_host(unsigned n);   // n < kLanHosts
IpAddress site_host(unsigned n);  // behind the site's peer
IpAddress wan_address();

// The far side's half of a session, and where it is. Holds copies, so that using it warms no line of the gateway's.
struct Session {
  Secret<32> send_key, receive_key;
  uint32_t index = 0;          // the gateway's: messages to it name it
  uint32_t remote_index = 0;   // ours: its messages name it
  uint64_t counter = 0;        // of the next message to the gateway
  Endpoint endpoint;           // of the peer
  Keypair* keypair = nullptr;  // the gateway's
};

class Gateway final : public OuterRoutes {
 public:
  struct Settings {
    std::vector<unsigned> cores = {0};  // one worker each
    std::string engine;                 // empty: the fastest
    uint32_t buffers = 4095;
    size_t port_frames = 256;
    bool offloads = false;  // the ports do checksums
    bool stages = false;    // every poll is timed, stage by stage
    size_t load_threshold = LoadMonitor::kDefaultThreshold;
  };
  explicit Gateway(const Settings& settings);
  ~Gateway() override;

  Worker& worker(size_t n = 0) { return *dataplane_->workers()[n]; }
  Dataplane& dataplane() { return *dataplane_; }
  Wireguard& wireguard() { return *wireguard_; }
  Tunnel& tunnel() { return *tunnel_; }
  MemoryPort& wan() { return *wan_; }
  MemoryPort& lan() { return *lan_; }

  // Peers are seen by workers after the next control_turn().
  PeerControl& add_peer(const PublicKey& key, const Prefix& allowed, const Endpoint& endpoint);
  PeerControl& add_site_peer();                 // 10.2.0.0/16
  PeerControl& add_host_peer(uint32_t number);  // 10.128.0.0 + number
  static IpAddress inner_address_of(uint32_t number);
  static Endpoint endpoint_of(uint32_t number);

  // A session as a handshake that the peer began would have left it, received by worker 0. It takes the place of the
  // peer's last one. No worker runs.
  Session open_session(PeerControl& peer);
  void renew(Session& session);  // it is as young as a new one

  // Workers and control, turn by turn, until nothing is left to do: after changes, before measuring.
  void settle();
  // What control does in a turn, timers apart: they belong to idle peers.
  void control_turn();

  // Every reason for which something was dropped since the last call: "data_replay 3".
  std::string new_drops();

  OuterRoute resolve(const OuterQuery& query) override;
  OuterRoute look_up(const OuterQuery& query) const override;
  uint32_t scope_of(PortId) const noexcept override { return 0; }
  Result<void> claim_port(TunnelId, uint16_t) override { return {}; }

 private:
  void describe_network();

  SystemClock clock_;
  SystemRng rng_;
  DropCounters control_drops_;
  std::array<uint64_t, kDropReasons> drops_seen_{};
  NetworkModel model_;
  OwnInterfaces own_;
  FibBuilder builder_;
  MemoryPort *wan_ = nullptr, *lan_ = nullptr;  // the data plane's
  std::unique_ptr<Dataplane> dataplane_;
  std::unique_ptr<Wireguard> wireguard_;
  std::unique_ptr<Publisher> publisher_;
  Tunnel* tunnel_ = nullptr;
};

}  // namespace sluice::bench
