// The WireGuard side of control: all tunnels, their handshakes, sessions and timers. Knows the data plane, but neither
// Linux nor sockets: datagrams come from the workers' handshake rings and leave through their inboxes. Control thread
// only.
//
// Its parts, in the order of a session's life: tunnel.cc (configuration), handshakes.cc (messages in and out),
// sessions.cc (keypairs: published, promoted, retired), paths.cc (how large a packet reaches a peer), events.cc (what
// workers report, and timers).
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "control/noise/admission.h"
#include "control/wg/outer_routes.h"
#include "control/wg/tunnel.h"
#include "dataplane/base/token_bucket.h"
#include "dataplane/worker/dataplane.h"

namespace sluice {

struct PacketMeta;

class Wireguard {
 public:
  struct Parts {  // everything here outlives it
    Dataplane& dataplane;
    const Clock& clock;
    Rng& rng;
    OuterRoutes& routes;
    DropCounters& drops;  // control's own table
    size_t load_threshold = LoadMonitor::kDefaultThreshold;
  };
  explicit Wireguard(Parts parts);
  ~Wireguard();

  // Tunnels live as long as the gateway. nullptr: the name is taken.
  Tunnel* add_tunnel(const std::string& name);
  Tunnel* find_tunnel(const std::string& name) noexcept;
  std::span<const std::unique_ptr<Tunnel>> tunnels() const noexcept { return tunnels_; }
  PeerControl* find_peer(PeerId id) noexcept;
  PeerControl* at_slot(uint32_t slot) noexcept { return by_slot_[slot]; }  // of a peer that is registered

  // One turn's work, bounded; true: there may be more at once.
  bool drain_handshakes();
  bool drain_events();
  bool run_timers();
  bool post_waiting_commands();
  MonoTime next_deadline() const noexcept;  // never: no timer is armed

  // A packet for the gateway itself, before Linux sees it: from a port, or out of a tunnel (about.from.in_port
  // kNoPort). True: it was ours alone, an answer to a probe.
  bool overhear(const PacketMeta& about, ConstBytes ip_packet);

  // Peers known by name that left an initiation unanswered since the last call: their names may stand for other
  // addresses by now.
  std::vector<PeerId> take_unanswered() noexcept { return std::exchange(unanswered_, {}); }

  // The MTU that Linux's routes leave a tunnel may have changed for some tunnel since the last call
  // (Tunnel::derived_mtu).
  void route_mtus_changed() noexcept { route_mtus_changed_ = true; }
  bool take_route_mtus_changed() noexcept { return std::exchange(route_mtus_changed_, false); }

  // Routes, neighbours or addresses changed: endpoints are resolved again, a bounded number each turn (refresh_routes).
  void on_routes_changed() noexcept;
  bool refresh_routes();

  // True if the workers' view is out of date: the caller publishes a new root with these tunnels' views, then calls
  // published().
  bool dirty() const noexcept { return dirty_; }
  void mark_dirty() noexcept { dirty_ = true; }
  void published();

  // --- for its parts ---
  MonoTime now() const noexcept { return parts_.clock.now(); }
  Dataplane& dataplane() noexcept { return parts_.dataplane; }
  Rng& rng() noexcept { return parts_.rng; }
  void drop(Drop reason) noexcept { parts_.drops.add(reason); }
  bool listen_port_taken(uint16_t port, const Tunnel& except) const noexcept;
  uint16_t draw_listen_port() noexcept;
  Result<void> claim_port(TunnelId tunnel, uint16_t port) { return parts_.routes.claim_port(tunnel, port); }
  void set_mark(TunnelId tunnel, uint32_t mark) { parts_.routes.set_mark(tunnel, mark); }
  void register_peer(PeerControl& peer);
  void unregister_peer(PeerControl& peer);  // and retires its shared part

  Contact& contact(PeerControl& peer);      // made if there is none
  void start_handshake(PeerControl& peer);  // unless the last message is too young (protocol.md section 10)
  void forget_handshake(PeerControl& peer);
  void move_endpoint(PeerControl& peer, const Whereabouts& whereabouts);
  void update_outer(PeerControl& peer);
  bool is_routed(const PeerControl& peer, const Endpoint& endpoint) const;  // a way leads from the peer's tunnel to it
  OuterRoute resolve(const PeerControl& peer);
  Whereabouts arrival(Endpoint remote, const IpAddress& local, PortId port) const noexcept;  // of a datagram
  void start_path_search(PeerControl& peer);  // if its tunnel wants that and it is not running
  void stop_path_search(PeerControl& peer);
  void drop_keypairs(PeerControl& peer);
  void broadcast(CommandKind kind, PeerId peer);  // to all workers
  void flush_staged(const PeerControl& peer);     // what waits for it is tried again, at all workers
  void request_keepalive(PeerControl& peer);
  void evaluate_timers(PeerControl& peer);

 private:
  struct Datagram {  // a handshake message as it arrived
    ConstBytes message;
    Whereabouts from;
    uint16_t listen_port;
    WorkerId worker;
  };

  // handshakes.cc
  void on_datagram(const Datagram& datagram);
  Tunnel* admit(const Datagram& datagram);
  void on_initiation(Tunnel& tunnel, const Datagram& datagram);
  void on_response(Tunnel& tunnel, const Datagram& datagram);
  void on_cookie_reply(const Datagram& datagram);
  const RemoteIdentity* remote_identity(PeerControl& peer);  // implies contact()
  void send_initiation(PeerControl& peer);
  std::optional<uint32_t> reserve_index(const PeerControl& peer);
  void send_to_peer(PeerControl& peer, Bytes message);
  void send_held_message(PeerControl& peer);
  bool transmit(const OuterRoute& route, ConstBytes message, uint8_t tos, WorkerId worker);
  void stamp_sent(PeerControl& peer);
  void note_received(PeerControl& peer, size_t bytes);
  PeerControl* find_by_index(uint32_t index) noexcept;

  // sessions.cc
  std::unique_ptr<Keypair> make_keypair(PeerControl& peer, SessionKeys keys, WorkerId owner);
  void begin_session_as_initiator(PeerControl& peer, SessionKeys keys, WorkerId owner);
  void begin_session_as_responder(PeerControl& peer, SessionKeys keys, WorkerId owner);
  void confirm_key(PeerControl& peer, uint32_t index);
  std::unique_ptr<Keypair> set_current(PeerControl& peer, std::unique_ptr<Keypair> keypair);
  void retire_keypair(std::unique_ptr<Keypair> keypair);
  void ensure_handoff_ring(PeerRest& peer, WorkerId owner);

  // paths.cc
  void limit_by_path(PeerControl& peer, OuterRoute& route);
  void evaluate_path(PeerControl& peer);
  void schedule_path(PeerControl& peer);
  bool send_probe(PeerControl& peer, PathSearch::Probe probe);
  void on_path_report(ConstBytes packet);
  bool on_probe_answer(TunnelId tunnel, ConstBytes packet);

  // events.cc
  void on_way_opened(PeerControl& peer);
  void on_event(const Event& event);
  void try_next_address(PeerControl& peer);
  void post(WorkerId worker, const Command& command);

  Parts parts_;
  Admission admission_;
  std::vector<std::unique_ptr<Tunnel>> tunnels_;
  std::vector<PeerControl*> by_slot_;
  std::unordered_map<uint32_t, PeerControl*> by_handshake_index_;  // initiations sent
  std::set<std::pair<MonoTime, uint32_t>> deadlines_;              // by peer slot
  std::set<std::pair<MonoTime, uint32_t>> path_deadlines_;         // likewise
  TokenBucket path_reports_{100, 100};                             // a second: each may look at every peer
  uint64_t probe_cookie_ = 0;                                      // in our probes; drawn for the first
  std::vector<PeerId> unanswered_;
  bool route_mtus_changed_ = true;
  std::vector<std::function<void()>> retire_after_publish_;
  struct Unposted {
    WorkerId worker;
    Command command;
  };
  std::deque<Unposted> unposted_;
  uint32_t refresh_slot_ = UINT32_MAX;  // next slot to resolve again; UINT32_MAX: none due
  MonoTime collected_at_;
  bool dirty_ = true;
};

}  // namespace sluice
