// The typed rings between one worker and control, all bounded, single-producer single-consumer (DPDK rte_ring). Up:
// handshakes, punted packets, events. Down: the inbox. A full ring never blocks: the producer counts a named drop, or
// leaves its flag unset and tries again. Whatever is posted rings the doorbell of the side that takes it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "dataplane/base/handle.h"
#include "dataplane/base/net.h"
#include "dataplane/base/result.h"
#include "dataplane/base/strong.h"

struct rte_mbuf;
struct rte_ring;
extern "C" void rte_ring_free(rte_ring*);

namespace sluice {

enum class EventKind : uint8_t {
  kNeedHandshake,  // no usable key to send under, or one that wants replacing. Pending bit in the peer
  kKeyConfirmed,   // first authentic data under `index`: promote it. Posted until the ring takes it
  kEndpointMoved,  // authentic data from `remote` (to our `local`), which is not where we send to
};

struct Event {
  EventKind kind;
  WorkerId worker;
  PortId port = kNoPort;  // kEndpointMoved: where it arrived
  PeerId peer;
  uint32_t index = 0;  // kKeyConfirmed: the keypair's local index
  Endpoint remote;
  IpAddress local;
};

enum class CommandKind : uint8_t {
  kTransmit,       // `packet`: a complete frame, out of `port` (what Linux sends on a mirror, handshake replies)
  kRoute,          // `packet`: an IP packet of our own (ICMP errors): look up the route; TTL is not decremented
  kTunnel,         // `packet`: an IP packet that Linux sent into `tunnel` (its TUN)
  kFlushStaged,    // send what this worker holds staged for `peer`
  kDiscardStaged,  // free it instead: handshake given up, or peer removed
  kKeepalive,      // send an empty data message to `peer`, or what is staged for it if anything is
  kProbe,          // `packet`: an inner packet with its padding, to `peer` in one message that nobody may fragment
};

struct Command {
  CommandKind kind;
  uint8_t reserved = 0;
  PortId port;
  TunnelId tunnel;
  uint16_t reserved2 = 0;
  PeerId peer;
  rte_mbuf* packet = nullptr;
};

// Wakes a thread that sleeps in epoll on fd(). Protocol: the sleeper calls prepare_sleep(), then looks at its rings
// once more, then sleeps, then woke_up(), and clear() if fd() was readable: most sleeps end for another reason. The
// other side calls ring() after it has enqueued (Mailbox does). Both have a full fence between their store and their
// load, so one of the two sees the other (Dekker); a system call is made only if the other side sleeps, and once per
// sleep.
class Doorbell {
 public:
  Doorbell();
  ~Doorbell();
  Doorbell(const Doorbell&) = delete;
  Doorbell& operator=(const Doorbell&) = delete;
  int fd() const noexcept { return fd_; }  // negative: the process has no descriptor left
  void prepare_sleep() noexcept;
  void woke_up() noexcept;
  void clear() noexcept;  // a ring that came too late for one sleep ends the next
  void ring() noexcept;

 private:
  int fd_;
  std::atomic<bool> sleeping_{false};
};

class Mailbox {
 public:
  struct Sizes {
    unsigned handshakes = 1024, punts = 1024, events = 4096, inbox = 2048, ready = 4096;
  };
  static Result<std::unique_ptr<Mailbox>> create(WorkerId worker, const Sizes& sizes, int numa_node);
  ~Mailbox();  // frees the packets that nobody took
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Worker side. Bursts of mbufs: returns how many were taken; the others remain the caller's.
  unsigned post_handshakes(rte_mbuf** packets, unsigned n) noexcept;
  unsigned post_punts(rte_mbuf** packets, unsigned n) noexcept;
  bool post_event(const Event& event) noexcept;
  unsigned take_commands(Command* commands, unsigned n) noexcept;
  unsigned take_ready(PeerId* peers, unsigned n) noexcept;  // peers whose handoff ring has packets for this worker
  bool worker_has_work() const noexcept;                    // inbox or ready ring not empty

  // Other workers (multi-producer).
  bool post_ready(PeerId peer) noexcept;

  // Control side.
  unsigned take_handshakes(rte_mbuf** packets, unsigned n) noexcept;
  unsigned take_punts(rte_mbuf** packets, unsigned n) noexcept;
  unsigned take_events(Event* events, unsigned n) noexcept;
  unsigned handshakes_waiting() const noexcept;
  bool post_command(const Command& command) noexcept;  // false: full; a packet in it remains the caller's
  bool control_has_work() const noexcept;

  Doorbell worker_bell;              // wakes the worker
  Doorbell* control_bell = nullptr;  // shared by all mailboxes; wakes control

 private:
  using Ring = Handle<rte_ring, rte_ring_free>;
  Mailbox() = default;
  Ring handshakes_, punts_, events_, inbox_, ready_;
};

}  // namespace sluice
