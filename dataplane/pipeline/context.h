// What the stages of one worker work with. Owned and used by that worker's thread only, except where a member says
// otherwise.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/base/clock.h"
#include "dataplane/base/strong.h"
#include "dataplane/crypto/aead.h"
#include "dataplane/pipeline/drop.h"
#include "dataplane/pipeline/mailbox.h"
#include "dataplane/pipeline/packet.h"
#include "dataplane/pipeline/published.h"
#include "dataplane/pipeline/recent_flows.h"
#include "dataplane/pipeline/stats.h"
#include "dataplane/port/port.h"
#include "dataplane/session/peer_table.h"
#include "dataplane/session/session_table.h"

struct rte_mempool;

namespace sluice {

class PuntQueue;       // pipeline/punt.h
class Reassembly;      // pipeline/reassembly.h
class Spread;          // pipeline/spread.h
class StagedPackets;   // pipeline/staged.h
class TransmitQueues;  // pipeline/transmit.h

inline constexpr unsigned kBurst = 64;  // packets per receive call
inline constexpr unsigned kMaxBurst =
    256;  // survivors a stage may hold at once (a burst plus what was staged or handed over)

// Survivors of a burst, in order. A fixed array on the stack of the poll; stages shrink it in place.
struct Burst {
  rte_mbuf* packets[kMaxBurst];
  unsigned count = 0;

  void push(rte_mbuf* m) noexcept { packets[count++] = m; }
  bool full() const noexcept { return count == kMaxBurst; }
  bool empty() const noexcept { return count == 0; }
  std::span<rte_mbuf*> all() noexcept { return {packets, count}; }
};

struct WorkerContext {
  WorkerId id;
  uint16_t worker_count = 1;

  // This poll's view.
  MonoTime now;
  const Published* published = nullptr;
  RecentFlows recent_flows;  // what its tables say

  // Fixed parts.
  AeadEngine* engine = nullptr;
  rte_mempool* pool = nullptr;  // for keepalives
  const SessionTable* sessions = nullptr;
  const PeerTable* peers = nullptr;
  std::span<Port* const> ports;         // by PortId
  Mailbox* mailbox = nullptr;           // ours
  std::span<Mailbox* const> mailboxes;  // all workers', for the ready rings
  StagedPackets* staged = nullptr;
  Reassembly* reassembly = nullptr;
  Spread* spread = nullptr;            // nullptr: there is nobody to help
  TransmitQueues* transmit = nullptr;  // the worker flushes it at the end of the poll
  PuntQueue* punts = nullptr;          // flushed by the entry points of stages.h
  DropCounters* drops = nullptr;       // single writer: this worker; control reads
  WorkerStats* stats = nullptr;        // likewise

  // Identification of the next IPv4 outer packet (they may be fragmented on the way). Workers share the numbers: each
  // starts at its id and goes in steps of worker_count.
  uint16_t outer_id = 0;
  // Some outer header of the last burst was longer than the line of its route that it begins in (outbound.cc).
  bool long_headers = false;

  // Out of line, so that loops over good packets keep their registers.
  [[gnu::noinline, gnu::cold]] void drop(rte_mbuf* m, Drop reason) noexcept {
    drops->add(reason);
    rte_pktmbuf_free(m);
  }
};

}  // namespace sluice
