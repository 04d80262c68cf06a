// One session's transport keys. Made and freed by control; found by workers through its local index (SessionTable) and,
// for sending, through Peer::current. Freed after a grace period; its Secrets are wiped by their destructor.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "dataplane/base/clock.h"
#include "dataplane/base/net.h"
#include "dataplane/base/secret.h"
#include "dataplane/base/strong.h"
#include "dataplane/session/replay_window.h"

namespace sluice {

struct Peer;
struct OuterRoute;

// Ordered by who meets what: a receiver the first two lines, which come as a pair, and one of the window's; a sender
// the line of sending.
struct alignas(128) Keypair {
  // Receiving, read-mostly. Written by control before the keypair is published, except the flag.
  Peer* peer = nullptr;  // outlives its keypairs
  uint32_t local_index = 0;
  WorkerId owner = kNoWorker;           // receives under this keypair for life (Dataplane::owner_of)
  TunnelId tunnel = kNoTunnel;          // the peer's
  std::atomic<bool> can_receive{true};  // control clears it (expired); workers read, relaxed
  MonoTime birth;
  Secret<32> receive_key;

  // Written and read by the owner worker only, except that control reads rx_bytes.
  // An authentic packet was received; responder: KeyConfirmed was posted. Initiator: set from the start.
  alignas(64) bool confirmed = false;
  bool last_minute_rekey_asked = false;
  std::atomic<uint64_t> rx_bytes{0};  // UDP payload as `wg show` counts it (protocol.md section 14)
  // Where the last message led to, so that it is asked for with the next one: Peer::outer, and what was remembered of
  // its flow. Never followed: both may be gone.
  const OuterRoute* last_over = nullptr;
  const void* last_flow = nullptr;
  // The last EndpointMoved posted. Until control follows it (Peer::outer is another than it was), or some time has
  // passed, it and not Peer::outer is the news to compare with: of several moves in a burst the last one counts.
  const OuterRoute* reported_over = nullptr;  // compared only, never followed
  ReplayWindow replay;

  // Sending: shared by all senders. One relaxed fetch_add per burst and peer reserves nonces. With them, what is read
  // for it; written by control before the keypair is published, except the flag.
  alignas(64) std::atomic<uint64_t> send_counter{0};
  std::atomic<uint64_t> tx_bytes{0};  // as rx_bytes
  MonoTime sent_since;                // birth again
  Secret<32> send_key;
  uint32_t remote_index = 0;
  bool initiator = false;            // we initiated: we rekey by age
  std::atomic<bool> can_send{true};  // control clears it (own private key changed, expired); workers read, relaxed

  // The owner's again, when a peer moves.
  alignas(64) Endpoint reported_source;
  IpAddress reported_local;
  uint64_t reported_serial = 0;  // of reported_over: memory is used again
  MonoTime reported_at;

  void set_birth(MonoTime now) noexcept { birth = sent_since = now; }

  static void* operator new(size_t);  // from a slab
  static void operator delete(void* keypair) noexcept;
};

}  // namespace sluice
