// One session's transport keys. Made and freed by control; found by workers through its local index (SessionTable) and,
// for sending, through Peer::current. Freed after a grace period; its Secrets are wiped by their destructor.
//
// With many peers each packet meets another session, which left the caches long ago. What it needs of it is one line to
// send and two to receive, and those of all sessions lie side by side (slab.h, SessionTable): so they spread over all
// sets of the caches and over few pages. The rest of a session is the Keypair, which few packets ask for.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "dataplane/base/clock.h"
#include "dataplane/base/net.h"
#include "dataplane/base/secret.h"
#include "dataplane/base/strong.h"
#include "dataplane/session/replay_window.h"

namespace sluice {

struct Peer;

// Shared by all senders. Written by control before the keypair is published, except where said.
struct alignas(64) SendingKey {
  std::atomic<uint64_t> counter{0};  // one relaxed fetch_add per burst and peer reserves nonces
  std::atomic<uint64_t> bytes{0};    // senders': UDP payload as `wg show` counts it (protocol.md section 14)
  MonoTime birth;
  Secret<32> secret;
  uint32_t remote_index = 0;
  bool initiator = false;          // we initiated: we rekey by age
  std::atomic<bool> usable{true};  // control clears it (own private key changed, expired); workers read, relaxed

  static void* operator new(size_t);
  static void operator delete(void* key) noexcept;
};
static_assert(sizeof(SendingKey) == 64);

// Where a message came from, as it stood in front of it: outer addresses, which the sender's port follows. What came
// from there before came from where Peer::outer led to when it had this serial.
struct HeardFrom {
  static constexpr size_t kIpv4 = 4 + 4 + 2, kIpv6 = 16 + 16 + 2;
  uint32_t serial = 0;
  uint8_t outer_size = 0;  // of IP and UDP header, which says how much of it there is; 0: nothing was heard
  std::array<std::byte, kIpv6> addresses_and_port{};
};

struct alignas(128) ReceivingKey {
  // Before the cipher. Written by control before the keypair is published, except the flags.
  Secret<32> secret;
  Peer* peer = nullptr;  // outlives its keypairs
  MonoTime birth;
  uint32_t local_index = 0;        // the SessionTable's
  WorkerId owner = kNoWorker;      // receives under this keypair for life (Dataplane::owner_of)
  TunnelId tunnel = kNoTunnel;     // the peer's
  std::atomic<bool> usable{true};  // control clears it (expired); workers read, relaxed
  // From here on the owner worker's, except that control reads `bytes`.
  bool confirmed = false;          // an authentic packet was received; responder: KeyConfirmed was posted
  bool last_minute_rekey = false;  // we initiated, and it was not asked for yet
  uint32_t last_flow = 0;  // where the last packet's flow is remembered (RecentFlows), asked for with the next one

  // Behind it.
  alignas(64) HeardFrom heard;
  std::atomic<uint64_t> bytes{0};  // as SendingKey::bytes
  ReplayWindow window;             // its older words are the keypair's
};
static_assert(sizeof(ReceivingKey) == 2 * 64);

struct Keypair {
  explicit Keypair(ReceivingKey& key) : receiving(key) {}

  const std::unique_ptr<SendingKey> sending = std::make_unique<SendingKey>();
  ReceivingKey& receiving;  // in the SessionTable, which takes it back after the keypair

  // The owner worker's (ReceivingKey::owner).
  ReplayWindow::OlderWords older{};
  // When a peer moves: the last EndpointMoved posted. Until control follows it (Peer::outer_serial is another than it
  // was), or some time has passed, it and not Peer::outer is the news to compare with: of several moves in a burst the
  // last one counts.
  struct {
    Endpoint source;
    IpAddress local;
    uint32_t serial = 0;
    MonoTime at;
  } reported;

  MonoTime birth() const noexcept { return sending->birth; }
  void set_birth(MonoTime now) noexcept { sending->birth = receiving.birth = now; }

  static void* operator new(size_t);
  static void operator delete(void* keypair) noexcept;
};

}  // namespace sluice
