// One poll-mode worker: poll_once() does everything that is due, run() calls it until told to stop and sleeps when
// idle. A test calls poll_once() itself. All of it belongs to one thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "dataplane/base/clock.h"
#include "dataplane/pipeline/context.h"
#include "dataplane/pipeline/spread.h"

struct rte_rcu_qsbr;

namespace sluice {

enum class IdlePolicy : uint8_t {
  kPoll,      // never sleeps
  kAdaptive,  // sleeps after a moment without work
  kSleep,     // sleeps whenever there is nothing to do: on a host that has other work
};

class Worker {
 public:
  struct Parts {  // everything here outlives the worker
    WorkerId id;
    uint16_t worker_count;
    const Clock* clock;
    std::unique_ptr<AeadEngine> engine;
    rte_mempool* pool;
    const SessionTable* sessions;
    const PeerTable* peers;
    std::span<Port* const> ports;
    std::span<Mailbox* const> mailboxes;  // mailboxes[id] is ours
    const std::atomic<const Published*>* published;
    rte_rcu_qsbr* qsbr;
    IdlePolicy idle;
    SpreadBoard* board;  // nullptr: no help from other workers, and none for them
    Spread::Options spread;
    uint32_t timed_polls;  // one poll in so many is timed, stage by stage (pipeline/stats.h)
  };
  explicit Worker(Parts parts);
  ~Worker();

  // Inbox, handed-off packets, one burst from each of our receive queues, transmit, quiescent state; while saturated,
  // several rounds of them. One chunk of another worker's cipher work if there was nothing of our own. Returns the
  // number of packets and commands handled: 0 means idle.
  unsigned poll_once() noexcept;
  void run() noexcept;        // on its own lcore, until stop()
  void stop() noexcept;       // any thread; asks, does not wait
  void allow_run() noexcept;  // undoes stop(), before another run()
  // Between two runs: the port is not polled any more, and what is sent there is dropped as port_gone.
  void forget(PortId port) noexcept;

  // Read by control at any time.
  const DropCounters& drops() const noexcept;
  const WorkerStats& stats() const noexcept;
  std::string_view engine_name() const noexcept;

 private:
  void run_polling() noexcept;
  void run_sleeping() noexcept;
  unsigned sleep_unless_work() noexcept;

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sluice
