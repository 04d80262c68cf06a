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

struct alignas(64) Keypair {
  // Read-mostly. Written by control before the keypair is published, except the two flags.
  Peer* peer = nullptr;  // outlives its keypairs
  uint32_t local_index = 0;
  uint32_t remote_index = 0;
  MonoTime birth;
  bool initiator = false;      // we initiated: we rekey by age
  WorkerId owner = kNoWorker;  // receives under this keypair for life: the worker whose queue delivered its handshake
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
  Endpoint
      reported_source;  // the last EndpointMoved posted, and when: a move is reported again if control has not followed
  MonoTime reported_at;
};

}  // namespace sluice
