// One peer as control knows it: identity, handshake slot, the three keypairs, timers, endpoint. Plain state; what
// happens to it is in tunnel.cc (configuration), handshakes.cc (messages) and sessions.cc (keypairs). Control thread
// only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/noise/cookie.h"
#include "control/noise/handshake.h"
#include "control/noise/identity.h"
#include "control/noise/timers.h"
#include "control/wg/endpoint_choice.h"
#include "control/wg/path_mtu.h"
#include "dataplane/base/keys.h"
#include "dataplane/session/peer.h"

namespace sluice {

class Tunnel;

// Where a peer is, as its last authenticated packet or the configuration says.
struct Whereabouts {
  Endpoint remote;
  IpAddress local;        // our address that it talks to: replies leave from there. none: any
  PortId port = kNoPort;  // where its packets arrive
};

struct PeerControl {
  Tunnel* tunnel = nullptr;
  PublicKey public_key;
  PresharedKey preshared_key;
  uint16_t persistent_keepalive = 0;  // seconds; 0: off
  std::string name;                   // from the configuration file; may be empty

  std::unique_ptr<Peer> shared;  // the workers' view; retired with the peer
  // Sends what control wants sent: the worker that owns the last session, or asked for a handshake since.
  WorkerId home{0};

  Whereabouts at;  // set by configuration and by every authenticated packet; remote none: not known

  // Known by name: where else it may be. nullptr: it was given as an address, or not at all.
  std::unique_ptr<EndpointChoice> choice;

  PathMtu path;               // of the way there
  MonoTime path_deadline;     // where it stands in the queue of those; never: not there
  uint64_t path_packets = 0;  // sent to the peer when its path was last looked at

  // Handshake. `remote` is made when first needed, and anew after a change of the private key.
  std::optional<RemoteIdentity> remote;
  std::optional<SentInitiation> sent;  // the slot: our initiation that waits for its response
  InitiationGuard guard;
  CookieJar cookies;
  std::vector<std::byte> held_message;  // the last handshake message, if the endpoint's next hop was not resolved yet
  WallTime last_handshake;              // completed; seconds 0: never

  // Keypairs (protocol.md section 8). Sending works with `current` only.
  std::unique_ptr<Keypair> current, previous, next;

  TimerState timers;
  MonoTime deadline;  // where it stands in the timer queue; never: not there

  Stamps stamps() const noexcept {
    const auto read = [](const std::atomic<int64_t>& a) { return MonoTime{a.load(std::memory_order_relaxed)}; };
    return {read(shared->last_sent_any), read(shared->last_received_any), read(shared->unanswered_data_sent_since),
            read(shared->unacknowledged_data_received_since),
            shared->need_another_keepalive.load(std::memory_order_relaxed)};
  }
};

}  // namespace sluice
