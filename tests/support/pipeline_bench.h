// The pipeline on a bench: one gateway's workers built by hand around ports in memory, without control and without
// threads. A test feeds frames, calls the entry points of stages.h and looks at every exit there is. At the end the
// bench checks that no packet buffer was lost.
//
// Topology: port 0 "wan", port 1 "lan", tunnel 0 with one peer X at the wan side, tunnel 1 down.
//   our addresses      198.51.100.1, 2001:db8::1 (wan); 10.1.0.1, fd01::1 (lan); 10.0.0.1, fd00::1 (tunnel 0)
//   X                  endpoint 198.51.100.2:51820; allowed IPs 10.2.0.0/16, fd02::/64, 10.0.0.2, fd00::2
//   hosts on the lan   10.1.0.0/16, fd01::/64
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/crypto/select.h"
#include "dataplane/pipeline/context.h"
#include "dataplane/pipeline/punt.h"
#include "dataplane/pipeline/reassembly.h"
#include "dataplane/pipeline/spread.h"
#include "dataplane/pipeline/staged.h"
#include "dataplane/pipeline/stages.h"
#include "dataplane/pipeline/transmit.h"
#include "dataplane/port/ethdev.h"
#include "tests/support/idle_port.h"
#include "tests/support/packet_builder.h"
#include "tests/support/seeded_rng.h"

namespace sluice::test {

inline constexpr Mac kWanMac{{2, 0, 0, 0, 0, 1}}, kLanMac{{2, 0, 0, 0, 0, 2}}, kRouterMac{{2, 0, 0, 0, 0, 9}},
    kHostMac{{2, 0, 0, 0, 1, 0}};
inline constexpr PortId kWan{0}, kLan{1};
inline constexpr TunnelId kTunnel{0}, kTunnelDown{1};
inline constexpr uint16_t kListenPort = 51820;

class MemoryPort final : public IdlePort {
 public:
  using IdlePort::IdlePort;
  ~MemoryPort() override;
  uint16_t transmit(uint16_t queue, rte_mbuf** packets, uint16_t n) noexcept override;
  Offloads offloads() const noexcept override { return offers; }

  Offloads offers;
  unsigned room = UINT32_MAX;      // packets it will still take
  unsigned at_once = UINT16_MAX;   // packets it takes per call
  uint64_t cycles_per_call = 0;    // that it spends, at least
  std::vector<rte_mbuf*> packets;  // transmitted, ours until taken
};

struct Punted {
  PuntReason reason;
  PortId in_port;
  TunnelId tunnel;
  uint16_t mtu, l2_size;
  Octets bytes;
};

// A peer's side of the tunnel as the test knows it.
struct RemoteSession {
  Keypair* keypair = nullptr;  // the gateway's
  Secret<32> send_key;         // X seals with it
  Secret<32> receive_key;      // X opens with it
  Octets seal(uint64_t counter, const Octets& plaintext) const;
  std::optional<Octets> open(std::span<const std::byte> message) const;
};

struct SessionOptions {
  bool initiator = true;  // the gateway's role
  WorkerId owner{0};
  std::optional<uint32_t> index;  // ours
  bool current = true;            // also what the gateway sends under
};

class PipelineBench {
 public:
  explicit PipelineBench(uint16_t workers = 1, std::string_view engine = "");
  ~PipelineBench();

  // --- the gateway ---
  struct WorkerParts;
  WorkerContext& worker(unsigned n = 0);  // for one call into the pipeline
  StagedPackets& staged(unsigned n = 0) noexcept;
  // From now on this worker shares its bursts' cipher work (always, as by SLUICE_TEST_SPREAD).
  Spread& spread_everything(const Spread::Options& options, unsigned n = 0);
  SpreadBoard& board() noexcept { return board_; }
  void end_poll(unsigned n = 0);  // what a worker does at the end of a poll: bursts come back, transmit
  Mailbox& mailbox(unsigned n = 0) noexcept;
  MemoryPort& port(PortId id) noexcept { return *ports_[id.value]; }
  rte_mempool* pool() noexcept { return pool_.get(); }
  Published& published() noexcept { return published_; }
  NextHop& hop_to(std::string_view prefix);  // a route, made if need be: change it as the test needs
  Peer& peer() noexcept { return *peer_; }   // X
  Peer& add_peer(const std::vector<std::string>& allowed_ips, std::string_view endpoint_address = "");
  void share(std::string_view prefix, const std::vector<const Peer*>& owners);  // the last is the latest
  void set_endpoint(Peer& peer, std::string_view address, uint16_t port = 51820);
  OuterRoute& outer_of(Peer& peer) { return *outers_[&peer]; }
  RemoteSession& add_session(Peer& peer, SessionOptions options = {});
  PeerRest& rest_of(const Peer& peer) { return peers_.rest_of(peer); }
  void promote(RemoteSession& session) {  // as control does once it is confirmed
    peers_.begin_session(*session.keypair->receiving.peer, session.keypair);
  }
  void withdraw(RemoteSession& session) { sessions_.withdraw(session.keypair->receiving.local_index); }
  void advance(Nanoseconds by);  // the time of all workers

  // --- in ---
  void receive(const std::vector<Octets>& frames, PortId in = kWan, unsigned worker = 0);
  void receive(const Octets& frame, PortId in = kWan, unsigned worker = 0) {
    receive(std::vector<Octets>{frame}, in, worker);
  }
  // From X's endpoint, in UDP over IPv4 over Ethernet.
  Octets datagram(const Octets& message) const;
  Octets datagram6(const Octets& message) const;
  void receive_message(const Octets& message, unsigned worker = 0) { receive(datagram(message), kWan, worker); }
  void receive_message(const RemoteSession& from, uint64_t counter, const Octets& inner) {
    receive_message(from.seal(counter, inner));
  }
  void take_handed_off(unsigned worker);  // what a worker does when its ready ring has a peer
  void run(void (*command)(WorkerContext&, PeerId) noexcept, PeerId peer, unsigned worker = 0);
  void enter(void (*entry)(WorkerContext&, Burst&) noexcept, const std::vector<Octets>& packets,
             TunnelId tunnel = kTunnel, unsigned worker = 0);

  // --- out ---
  std::vector<Octets> transmitted(PortId port);
  void release(PortId port);               // the same without looking
  std::vector<Octets> messages_to_peer();  // the UDP payloads of what left by the wan
  std::vector<Punted> punted(unsigned worker = 0);
  std::vector<Octets> handshakes(unsigned worker = 0);
  std::vector<Event> events(unsigned worker = 0);
  // Since the last call: every reason that moved, by name.
  std::map<std::string, uint64_t> drops();
  unsigned buffers_in_use() const;

 private:
  rte_mbuf* to_mbuf(const Octets& bytes);

  // Draws what a test wants an index to be, else at random.
  class IndexRng final : public Rng {
   public:
    void fill(std::span<std::byte> bytes) noexcept override;
    std::optional<uint32_t> wanted;

   private:
    SeededRng random_;
  };

  PacketPool pool_;
  IndexRng rng_;
  std::vector<std::unique_ptr<MemoryPort>> ports_;
  std::vector<Port*> port_pointers_;
  PrefixMap routes_, allowed_ips_;
  std::vector<SharedOwners> shared_owners_;
  std::vector<NextHop> hops_;
  std::vector<Prefix> prefixes_;  // of hops_
  std::unique_ptr<const LocalAddresses> local_;
  Published published_;
  SessionTable sessions_;
  PeerTable peers_;
  std::vector<std::unique_ptr<RemoteSession>> remotes_;
  std::vector<std::unique_ptr<Keypair>> keypairs_;
  std::vector<std::unique_ptr<HandoffRing>> handoffs_;
  std::map<const Peer*, std::unique_ptr<OuterRoute>> outers_;
  Peer* peer_ = nullptr;
  std::vector<std::unique_ptr<Mailbox>> mailboxes_;
  std::vector<Mailbox*> mailbox_pointers_;
  SpreadBoard board_;
  std::vector<std::unique_ptr<WorkerParts>> workers_;
  std::array<uint64_t, kDropReasons> drops_seen_{};
};

}  // namespace sluice::test
