// One session's transport keys. Made and freed by control; found by workers through its local index (SessionTable) and,
// for sending, through Peer::current. Freed after a grace period; its Secrets are wiped by their destructor.
#pragma once

#include <atomic>
#include <cstdint>

#include "dataplane/base/clock.h"
#include "dataplane/base/net.h"
#include "dataplane/base/secret.h"
#include "dataplane/base/strong.h"
#include "dataplane/session/replay_window.h"

namespace sluice {

struct Peer;
struct OuterRoute;

struct alignas(64) Keypair {
  // Read-mostly. Written by control before the keypair is published, except the two flags.
  Peer* peer = nullptr;  // outlives its keypairs
  uint32_t local_index = 0;
  uint32_t remote_index = 0;
  MonoTime birth;
  bool initiator = false;               // we initiated: we rekey by age
  WorkerId owner = kNoWorker;           // receives under this keypair for life (Dataplane::owner_of)
  std::atomic<bool> can_send{true};     // control clears it (own private key changed, expired); workers read, relaxed
  std::atomic<bool> can_receive{true};  // likewise
  Secret<32> send_key;
  Secret<32> receive_key;

  // Shared by all senders: one relaxed fetch_add per burst and peer reserves nonces.
  alignas(64) std::atomic<uint64_t> send_counter{0};

  // Written and read by the owner worker only.
  alignas(64) ReplayWindow replay;
  bool confirmed =
      false;  // an authentic packet was received; responder: KeyConfirmed was posted. Initiator: set from the start
  bool last_minute_rekey_asked = false;
  // The last EndpointMoved posted. Until control follows it (Peer::outer is another than it was), or some time has
  // passed, it and not Peer::outer is the news to compare with: of several moves in a burst the last one counts.
  Endpoint reported_source;
  IpAddress reported_local;
  const OuterRoute* reported_over = nullptr;  // compared only, never followed
  uint64_t reported_serial = 0;               // its serial: memory is used again
  MonoTime reported_at;
};

}  // namespace sluice
