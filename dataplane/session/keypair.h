// One session's transport keys. Made and freed by control; found by workers through its local index (SessionTable) and,
// for sending, through Peer::current. Freed after a grace period; its Secrets are wiped by their destructor.
#pragma once

#include <array>
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

// Where a message came from, as it stood in front of it: outer addresses and ports follow each other where there are no
// IP options. What came from there before came from where Peer::outer led to when it had this serial.
struct HeardFrom {
  static constexpr size_t kIpv4 = 4 + 4 + 2 + 2, kIpv6 = 16 + 16 + 2 + 2;
  uint8_t outer_size = 0;  // of IP and UDP header, which says how much of it there is; 0: nothing was heard
  uint32_t serial = 0;
  std::array<std::byte, kIpv6> addresses_and_ports{};
};

// Ordered by who meets what: a receiver the first line before the cipher, the second one and one of the window's behind
// it; a sender the line of sending.
struct alignas(128) Keypair {
  // Receiving, read-mostly. Written by control before the keypair is published, except the flag.
  Peer* peer = nullptr;  // outlives its keypairs
  uint32_t local_index = 0;
  WorkerId owner = kNoWorker;           // receives under this keypair for life (Dataplane::owner_of)
  TunnelId tunnel = kNoTunnel;          // the peer's
  std::atomic<bool> can_receive{true};  // control clears it (expired); workers read, relaxed
  // The owner worker's: where the last packet's flow is remembered (RecentFlows), to be asked for with the next one.
  uint32_t last_flow = 0;
  MonoTime birth;
  Secret<32> receive_key;

  // Written and read by the owner worker only, except that control reads rx_bytes.
  // An authentic packet was received; responder: KeyConfirmed was posted. Initiator: set from the start.
  alignas(64) bool confirmed = false;
  bool last_minute_rekey_asked = false;
  HeardFrom heard;
  std::atomic<uint64_t> rx_bytes{0};  // UDP payload as `wg show` counts it (protocol.md section 14)
  ReplayWindow replay;                // its first word; the others are the next lines

  // Sending: shared by all senders. One relaxed fetch_add per burst and peer reserves nonces. With them, what is read
  // for it; written by control before the keypair is published, except the flag.
  alignas(64) std::atomic<uint64_t> send_counter{0};
  std::atomic<uint64_t> tx_bytes{0};  // as rx_bytes
  MonoTime sent_since;                // birth again
  Secret<32> send_key;
  uint32_t remote_index = 0;
  bool initiator = false;            // we initiated: we rekey by age
  std::atomic<bool> can_send{true};  // control clears it (own private key changed, expired); workers read, relaxed

  // The owner's again, when a peer moves: the last EndpointMoved posted. Until control follows it (Peer::outer_serial
  // is another than it was), or some time has passed, it and not Peer::outer is the news to compare with: of several
  // moves in a burst the last one counts.
  alignas(64) Endpoint reported_source;
  IpAddress reported_local;
  uint32_t reported_serial = 0;
  MonoTime reported_at;

  void set_birth(MonoTime now) noexcept { birth = sent_since = now; }

  static void* operator new(size_t);  // from a slab
  static void operator delete(void* keypair) noexcept;
};
static_assert(sizeof(HeardFrom) == 44, "with it the owner's line is full up to the window's first word");
static_assert(sizeof(Keypair) == 20 * 64);

}  // namespace sluice
