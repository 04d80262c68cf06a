// Owns packet buffers, ports, workers, tables and the QSBR domain: everything control hands objects to. Control thread
// only, except where said.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/clock.h"
#include "dataplane/base/result.h"
#include "dataplane/pipeline/mailbox.h"
#include "dataplane/pipeline/published.h"
#include "dataplane/port/ethdev.h"
#include "dataplane/port/port.h"
#include "dataplane/session/peer_table.h"
#include "dataplane/session/session_table.h"
#include "dataplane/worker/worker.h"

namespace sluice {

class Dataplane {
 public:
  struct Options {
    std::vector<unsigned> worker_cores;  // one worker each, or kAnyCore; the EAL was started with them (port/eal.h)
    IdlePolicy idle = IdlePolicy::kAdaptive;
    std::string engine;  // empty: the best
    uint32_t max_peers = 1u << 17;
    uint32_t session_slots = 1u << 20;
    Mailbox::Sizes mailboxes;
    std::optional<Spread::Options> spread;  // workers with time to spare help a saturated one. No value: they do not
    uint32_t timed_polls = 16;              // one in so many is timed, stage by stage
  };
  // `ports`, by PortId, were made with `pool`. Clock and rng outlive it. Errors: no such engine, no memory.
  static Result<std::unique_ptr<Dataplane>> create(Options options, PacketPool pool,
                                                   std::vector<std::unique_ptr<Port>> ports, const Clock& clock,
                                                   Rng& rng);
  ~Dataplane();  // stops the workers, frees everything retired
  Dataplane(const Dataplane&) = delete;
  Dataplane& operator=(const Dataplane&) = delete;

  // Launches the workers on their lcores; a test does not, and polls workers() itself. Error: the EAL was not started
  // with these cores, or they are busy; then none runs.
  Result<void> start();
  void stop();  // waits until every worker has left its loop (less than a millisecond)

  // The port's device leaves the machine: workers pause until none of them knows the port and the VLANs on its cable,
  // then it is given back. Their names and their places in published tables stay.
  Result<void> let_go(PortId port);

  // Publication: swap the root; the old one and whatever `retire` was given are freed when every worker has passed a
  // quiescent state. Ports that steer follow its listen ports.
  void publish(std::unique_ptr<Published> root);
  const Published& published() const noexcept;
  void retire(std::function<void()> free_it);  // called from collect() after a grace period
  void collect();                              // control calls it each turn; never blocks
  size_t retired() const noexcept;             // how much waits for its grace period
  void drain();                                // after stop(): frees everything retired now, no reader is left

  // Whose sessions a peer's are to be, where that is for us to choose: peers take turns, and a peer keeps its worker.
  // Its indices name it.
  WorkerId worker_for(PeerId peer) const noexcept;
  // Who receives under the session of which `received_by` got a handshake message by `port`: that worker, as the data
  // will come the same way; unless the port steers, which delivers them to the one that the index names.
  WorkerId owner_of(uint32_t local_index, PortId port, WorkerId received_by) const;

  SessionTable& sessions() noexcept;
  PeerTable& peers() noexcept;
  std::span<const std::unique_ptr<Worker>> workers() noexcept;
  Mailbox& mailbox(WorkerId worker) noexcept;
  Doorbell& control_bell() noexcept;
  std::span<Port* const> ports() noexcept;
  rte_mempool* pool() noexcept;  // for packets control makes: handshakes, ICMP, what Linux sends
  std::string_view engine_name() const noexcept;
  uint64_t drops(Drop reason) const noexcept;  // sum over workers
  uint16_t worker_count() const noexcept;

 private:
  struct State;
  explicit Dataplane(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sluice
