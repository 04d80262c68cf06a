// One peer as control knows it: identity and endpoint, and, once there is anything to say to it, handshake slot, timers
// and the three keypairs. Plain state; what happens to it is in tunnel.cc (configuration), handshakes.cc (messages) and
// sessions.cc (keypairs). Control thread only.
#pragma once

#include <list>
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

// What there is of a peer once a handshake is due or one of its messages has come: of 100,000 that are configured, many
// are never heard from. Lives from then on as long as the peer.
struct Contact {
  // `remote` is made when first needed, and anew after a change of the private key.
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
};

struct PeerControl {
  Tunnel* tunnel = nullptr;
  std::list<PeerControl>::iterator place;  // among the tunnel's peers
  PublicKey public_key;
  PresharedKey preshared_key;
  uint16_t persistent_keepalive = 0;  // seconds; 0: off
  std::string name;                   // from the configuration file; may be empty

  Peer* shared = nullptr;    // the workers' view, in the PeerTable; retired with the peer
  PeerRest* rest = nullptr;  // likewise
  // Sends what control wants sent: the worker that owns the last session, or asked for a handshake since.
  WorkerId home{0};

  Whereabouts at;  // set by configuration and by every authenticated packet; remote none: not known

  // Known by name: where else it may be. nullptr: it was given as an address, or not at all.
  std::unique_ptr<EndpointChoice> choice;

  PathMtu path;               // of the way there
  MonoTime path_deadline;     // where it stands in the queue of those; never: not there
  uint64_t path_packets = 0;  // sent under the current keypair when the path was last looked at

  std::unique_ptr<Contact> contact;  // nullptr: none yet (Wireguard::contact makes it)
  Keypair* current() const noexcept { return contact ? contact->current.get() : nullptr; }
  WallTime last_handshake() const noexcept { return contact ? contact->last_handshake : WallTime{}; }

  // As `wg show` counts (protocol.md section 14).
  uint64_t rx_bytes() const noexcept {
    return rest->rx_bytes + sum_of_sessions([](const Keypair& k) { return k.receiving.bytes.load(kRelaxed); });
  }
  uint64_t tx_bytes() const noexcept {
    return rest->tx_bytes + sum_of_sessions([](const Keypair& k) { return k.sending->bytes.load(kRelaxed); });
  }

  Stamps stamps() const noexcept {
    const auto read = [](const std::atomic<int64_t>& a) { return MonoTime{a.load(std::memory_order_relaxed)}; };
    return {read(shared->last_sent_any), read(shared->last_received_any), read(shared->unanswered_data_sent_since),
            read(shared->unacknowledged_data_received_since),
            shared->need_another_keepalive.load(std::memory_order_relaxed)};
  }

 private:
  static constexpr auto kRelaxed = std::memory_order_relaxed;
  template <class Counter>
  uint64_t sum_of_sessions(Counter counter) const noexcept {
    uint64_t sum = 0;
    if (!contact) return sum;
    for (const auto* keypair : {&contact->current, &contact->previous, &contact->next})
      if (*keypair) sum += counter(**keypair);
    return sum;
  }
};

}  // namespace sluice
