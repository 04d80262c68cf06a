#include "dataplane/worker/worker.h"

#include <rte_cycles.h>
#include <rte_mempool.h>
#include <rte_pause.h>
#include <rte_rcu_qsbr.h>
#include <rte_ring.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <vector>

#include "dataplane/pipeline/punt.h"
#include "dataplane/pipeline/reassembly.h"
#include "dataplane/pipeline/staged.h"
#include "dataplane/pipeline/stages.h"
#include "dataplane/pipeline/transmit.h"
#include "dataplane/worker/idle_wait.h"
#include "dataplane/worker/queue_plan.h"

namespace sluice {
namespace {

constexpr unsigned kCommandsPerPoll = 64;
constexpr unsigned kReadyPerPoll = 64;
constexpr uint64_t kSaturatedPollMicroseconds =
    1000;                                   // after that it is quiescent again and looks at what was published
constexpr uint64_t kSpinMicroseconds = 50;  // without work before it sleeps: shorter than that, a wake-up costs more

std::vector<ReceiveQueue> queues_of(WorkerId worker, uint16_t workers, std::span<Port* const> ports) {
  std::vector<ReceiveQueue> queues;
  const QueuePlan plan = plan_queues(ports, workers);
  for (size_t p = 0; p < ports.size(); ++p)
    for (uint16_t q = 0; q < plan[p].size(); ++q)
      if (plan[p][q] == worker) queues.push_back({ports[p], q});
  return queues;
}

// An eighth of the packet buffers may wait for handshakes, all workers together.
StagedPackets::Limits staged_limits(const rte_mempool* pool, uint16_t workers) {
  return {.peers = 4096, .packets = pool->size / 8 / workers};
}

// As linux/sched/types.h has it.
struct SchedulingAttributes {
  uint32_t size = sizeof(SchedulingAttributes);
  uint32_t policy = SCHED_OTHER;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0, deadline = 0, period = 0;
};

// A worker that sleeps shares its core with whatever else the host does. It asks Linux (6.12 and later) for the
// shortest turns: no more of the processor than its share, but soon, since others wait for its packets. Earlier
// versions take no notice. Whoever has started us under another policy (chrt) has asked for something else.
void ask_for_short_turns() noexcept {
  if (sched_getscheduler(0) != SCHED_OTHER) return;
  SchedulingAttributes attributes;
  attributes.nice = getpriority(PRIO_PROCESS, static_cast<id_t>(gettid()));
  attributes.runtime = 100'000;  // nanoseconds
  syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace

struct Worker::State {
  explicit State(Parts p)
      : parts(std::move(p)),
        mailbox(*parts.mailboxes[parts.id.value]),
        queues(queues_of(parts.id, parts.worker_count, parts.ports)),
        staged(staged_limits(parts.pool, parts.worker_count), drops),
        reassembly(parts.pool->size / 16 / parts.worker_count, drops),
        transmit(parts.ports, parts.id, drops, stats),
        punts(parts.ports.size(), mailbox, drops),
        idle_wait(queues, mailbox.worker_bell) {
    context.id = parts.id;
    context.worker_count = parts.worker_count;
    context.engine = parts.engine.get();
    context.pool = parts.pool;
    context.sessions = parts.sessions;
    context.peers = parts.peers;
    context.ports = parts.ports;
    context.mailbox = &mailbox;
    context.mailboxes = parts.mailboxes;
    context.staged = &staged;
    context.reassembly = &reassembly;
    context.transmit = &transmit;
    context.punts = &punts;
    context.drops = &drops;
    context.stats = &stats;
    context.outer_id = parts.id.value;
    // On a host that has other work packets wait in sockets, and memory is taken as far as it is used.
    if (parts.idle != IdlePolicy::kSleep) context.recent_flows.take_memory();
    if (parts.board != nullptr) context.spread = &spread.emplace(*parts.board, context, parts.spread);
    rte_rcu_qsbr_thread_register(parts.qsbr, parts.id.value);
  }
  ~State() {
    go_offline();
    rte_rcu_qsbr_thread_unregister(parts.qsbr, parts.id.value);
  }

  void begin_poll() noexcept;
  unsigned round() noexcept;
  unsigned more_rounds() noexcept;
  unsigned help() noexcept;
  unsigned run_commands() noexcept;
  unsigned drain_handoffs() noexcept;
  unsigned receive() noexcept;
  void process(const Port& port, Burst& burst) noexcept;
  void end_poll(unsigned handled) noexcept;

  unsigned drain(Peer& peer, HandoffRing& handoff) noexcept;
  bool scheduled_again(const Peer& peer, HandoffRing& handoff) noexcept;
  void add_own(const Command& command, Burst& packets) noexcept;
  void go_offline() noexcept;
  void sleep() noexcept;
  bool reclaimed() noexcept { return !spread || spread->reclaim(); }
  // Nobody needs our help, and no stalled helper keeps us from going offline.
  bool may_sleep() noexcept { return !spread || (!parts.board->anyone_saturated() && spread->reclaim()); }

  Parts parts;
  Mailbox& mailbox;
  std::vector<ReceiveQueue> queues;  // ours
  DropCounters drops;
  WorkerStats stats;
  StagedPackets staged;
  Reassembly reassembly;  // a sixteenth of the packet buffers may wait there, all workers together
  TransmitQueues transmit;
  PuntQueue punts;
  WorkerContext context;
  std::optional<Spread> spread;
  IdleWait idle_wait;
  Saturation::Poll poll{};
  uint32_t polls_until_timed = 1;
  const uint64_t now_lasts = rte_get_tsc_hz() / 1'000'000 * static_cast<uint64_t>(parts.clock->lasts().count()) / 1000;
  uint64_t now_read = 0;    // when context.now was
  bool round_full = false;  // a queue or ring gave as much as we take at once, or had more
  const uint64_t saturated_poll = rte_get_tsc_hz() / 1'000'000 * kSaturatedPollMicroseconds;
  // Bit n: queues[n] is looked at in this poll. All of them, unless somebody has asked the kernel which have traffic.
  uint64_t due = ~uint64_t{0};
  uint64_t more = 0;                  // likewise: queues that have more at hand, or may have
  bool online = false;                // for QSBR: we may hold pointers that control has published
  uint64_t version = 0;               // of what is published, in the last poll
  std::atomic<bool> stopping{false};  // written by any thread
};

Worker::Worker(Parts parts) : state_(std::make_unique<State>(std::move(parts))) {}
Worker::~Worker() = default;

const DropCounters& Worker::drops() const noexcept { return state_->drops; }
const WorkerStats& Worker::stats() const noexcept { return state_->stats; }
std::string_view Worker::engine_name() const noexcept { return state_->parts.engine->name(); }

unsigned Worker::poll_once() noexcept {
  State& s = *state_;
  s.begin_poll();
  unsigned handled = s.round();
  if (s.spread && s.spread->saturated()) handled += s.more_rounds();
  if (handled == 0) handled = s.help();
  s.end_poll(handled);
  return handled;
}

// A saturated worker's bursts overlap: others do the cipher's part of one while it prepares the next.
unsigned Worker::State::more_rounds() noexcept {
  unsigned handled = 0;
  for (unsigned n = 1; poll.full_rounds == n && rte_rdtsc() - poll.began < saturated_poll; ++n) handled += round();
  finish_spread(context);
  return handled + transmit.flush();
}

unsigned Worker::State::round() noexcept {
  round_full = false;
  unsigned handled = run_commands();
  handled += drain_handoffs();
  handled += receive();
  handled += transmit.flush();
  if (handled != 0) ++poll.rounds;
  if (round_full) ++poll.full_rounds;
  return handled;
}

// Other workers' packets: only when we have none, and one chunk at a time.
unsigned Worker::State::help() noexcept {
  if (parts.board == nullptr || !parts.board->anyone_saturated()) return 0;
  StageClock clock(stats);
  const unsigned packets = parts.board->help(parts.id, *parts.engine);
  if (packets != 0) clock.finished(Stage::help, packets);
  return packets;
}

void Worker::State::begin_poll() noexcept {
  poll = {.began = rte_rdtsc()};
  stats.weight = 0;
  if (--polls_until_timed == 0) stats.weight = polls_until_timed = parts.timed_polls;
  if (!online) {
    rte_rcu_qsbr_thread_online(parts.qsbr, parts.id.value);
    online = true;
  }
  if (poll.began - now_read >= now_lasts) {
    context.now = parts.clock->now();
    now_read = poll.began;
  }
  context.published = parts.published->load(std::memory_order_acquire);  // pairs with Dataplane::publish
  if (!reassembly.empty()) reassembly.expire(context.now);
  if (context.published->version == version) return;
  version = context.published->version;
  context.recent_flows.forget();
}

void Worker::State::end_poll(unsigned handled) noexcept {
  // Nothing that was read under this poll is held any more, unless a helper has stalled with it.
  if (!spread || spread->reclaim()) rte_rcu_qsbr_quiescent(parts.qsbr, parts.id.value);
  poll.ended = rte_rdtsc();
  WorkerStats::bump(stats.polls, 1);
  if (handled == 0) {
    WorkerStats::bump(stats.empty_polls, 1);
  } else {
    WorkerStats::bump(stats.busy_cycles, poll.ended - poll.began);
  }
  if (spread) spread->end_poll(poll);
}

void Worker::State::go_offline() noexcept {
  if (online) rte_rcu_qsbr_thread_offline(parts.qsbr, parts.id.value);
  online = false;
}

// Packets of control, in the order in which it posted them within each kind.
unsigned Worker::State::run_commands() noexcept {
  if (!mailbox.worker_has_work()) return 0;
  Command commands[kCommandsPerPoll];
  StageClock clock(stats);
  const unsigned n = mailbox.take_commands(commands, kCommandsPerPoll);
  if (n == 0) return 0;
  Burst own, tunnel_bound;
  for (const Command& command : std::span(commands, n)) {
    switch (command.kind) {
      case CommandKind::kTransmit:
        transmit.push(command.port, command.packet);
        break;
      case CommandKind::kRoute:
        add_own(command, own);
        break;
      case CommandKind::kTunnel:
        add_own(command, tunnel_bound);
        break;
      case CommandKind::kFlushStaged:
        flush_staged(context, command.peer);
        break;
      case CommandKind::kDiscardStaged:
        discard_staged(context, command.peer);
        break;
      case CommandKind::kKeepalive:
        send_keepalive(context, command.peer);
        break;
      case CommandKind::kProbe:
        send_probe(context, command.peer, command.packet);
        break;
    }
  }
  clock.finished(Stage::inbox, n);
  if (!own.empty()) process_own(context, own);
  if (!tunnel_bound.empty()) process_tunnel_bound(context, tunnel_bound);
  return n;
}

void Worker::State::add_own(const Command& command, Burst& packets) noexcept {
  meta(command.packet) = {.from = {.in_port = kNoPort, .tunnel = command.tunnel, .worker = parts.id}};
  packets.push(command.packet);
}

// Peers for which other workers have handed us packets.
unsigned Worker::State::drain_handoffs() noexcept {
  PeerId ready[kReadyPerPoll];
  const unsigned n = mailbox.take_ready(ready, kReadyPerPoll);
  unsigned handled = n;
  for (const PeerId id : std::span(ready, n)) {
    Peer* peer = parts.peers->find(id);
    if (peer == nullptr) continue;  // gone: control frees what its rings hold
    const PeerRest& rest = parts.peers->rest_of(*peer);
    if (rest.handoff == nullptr) continue;
    HandoffRing* handoff = rest.handoff[parts.id.value].load(std::memory_order_acquire);
    if (handoff != nullptr) handled += drain(*peer, *handoff);
  }
  return handled;
}

unsigned Worker::State::drain(Peer& peer, HandoffRing& handoff) noexcept {
  // Pairs with the producer's exchange after its enqueue: either it sees this and schedules again, or we see its
  // packet.
  handoff.scheduled.store(false, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  unsigned handled = 0;
  Burst messages;
  do {
    messages.count =
        rte_ring_sc_dequeue_burst(handoff.ring, reinterpret_cast<void**>(messages.packets), kMaxBurst, nullptr);
    if (messages.empty()) break;
    handled += messages.count;
    round_full |= messages.count >= kBurst;
    process_handed_off(context, messages);
  } while (!scheduled_again(peer, handoff));
  return handled;
}

// What arrived while we drained is for the next poll, so that producers cannot keep us here. False: neither we nor they
// could put the peer into the ready ring.
bool Worker::State::scheduled_again(const Peer& peer, HandoffRing& handoff) noexcept {
  if (rte_ring_empty(handoff.ring) != 0 || handoff.scheduled.exchange(true, std::memory_order_acq_rel)) return true;
  if (mailbox.post_ready(peer.id)) return true;
  handoff.scheduled.store(false, std::memory_order_release);
  return false;
}

unsigned Worker::State::receive() noexcept {
  unsigned handled = 0;
  Burst frames;
  more = 0;
  for (size_t i = 0; i < queues.size(); ++i) {
    const uint64_t bit = uint64_t{1} << i % 64;
    if ((due & bit) == 0) continue;
    const ReceiveQueue& q = queues[i];
    StageClock clock(stats);
    frames.count = q.port->receive(q.queue, frames.packets, kBurst);
    if (frames.empty()) continue;
    const bool full = frames.count == kBurst || q.port->has_more(q.queue);
    if (full) more |= bit;
    clock.finished(Stage::receive, frames.count);
    handled += frames.count;
    round_full |= full;
    process(*q.port, frames);
  }
  return handled;
}

void Worker::State::process(const Port& port, Burst& burst) noexcept {
  switch (port.carries()) {
    case Port::Carries::kFrames:
      return process_frames(context, port.id(), burst);
    case Port::Carries::kDatagrams:
      return process_datagrams(context, port.id(), burst);
    case Port::Carries::kPackets:
      return process_packets(context, port.id(), burst);
  }
}

void Worker::run() noexcept {
  state_->parts.idle == IdlePolicy::kSleep ? run_sleeping() : run_polling();
  // A stalled helper still holds pointers of ours: then the others stop, too, and control frees everything at the end.
  if (state_->reclaimed()) state_->go_offline();
}

// The kernel is asked first, and only the queues that have traffic are looked at: three ports without any cost one
// system call, not three, and the core is somebody else's whenever there is nothing to do.
void Worker::run_sleeping() noexcept {
  State& s = *state_;
  ask_for_short_turns();
  while (!s.stopping.load(std::memory_order_relaxed)) {
    s.idle_wait.prepare();
    const bool awake = s.more != 0 || s.mailbox.worker_has_work() || !s.may_sleep();
    if (awake || s.stopping.load(std::memory_order_relaxed)) {
      s.idle_wait.look();
    } else {
      s.sleep();
    }
    s.idle_wait.finish();
    s.due = s.more;
    for (size_t i = 0; i < s.queues.size(); ++i)
      if (s.idle_wait.is_due(i)) s.due |= uint64_t{1} << i % 64;
    poll_once();
  }
}

void Worker::run_polling() noexcept {
  State& s = *state_;
  const uint64_t spin = rte_get_tsc_hz() / 1'000'000 * kSpinMicroseconds;
  uint64_t last_work = rte_rdtsc();
  while (!s.stopping.load(std::memory_order_relaxed)) {
    if (poll_once() != 0) {
      last_work = rte_rdtsc();
      s.idle_wait.had_work();
    } else if (s.parts.idle == IdlePolicy::kPoll || rte_rdtsc() - last_work < spin || !s.may_sleep()) {
      rte_pause();
    } else if (sleep_unless_work() != 0) {
      last_work = rte_rdtsc();
      s.idle_wait.had_work();
    }
  }
}

// Sleeps after one more look that finds nothing; the number of packets and commands that it found otherwise.
unsigned Worker::sleep_unless_work() noexcept {
  State& s = *state_;
  s.idle_wait.prepare();
  const unsigned handled = poll_once();
  if (handled == 0 && s.may_sleep() && !s.stopping.load(std::memory_order_relaxed)) s.sleep();
  s.idle_wait.finish();
  return handled;
}

void Worker::State::sleep() noexcept {
  using Steady = std::chrono::steady_clock;
  go_offline();  // control need not wait for a worker that sleeps
  const Steady::time_point began = Steady::now();
  idle_wait.wait();
  WorkerStats::bump(stats.sleeps, 1);
  WorkerStats::bump(stats.asleep_ns, static_cast<uint64_t>((Steady::now() - began).count()));
}

// The doorbell's fence puts the flag before its look at whether the worker sleeps.
void Worker::stop() noexcept {
  state_->stopping.store(true, std::memory_order_relaxed);
  state_->mailbox.worker_bell.ring();
}

void Worker::forget(PortId port) noexcept {
  std::erase_if(state_->queues, [port](const ReceiveQueue& q) { return q.port->id() == port; });
  state_->transmit.forget(port);
}

void Worker::allow_run() noexcept { state_->stopping.store(false, std::memory_order_relaxed); }

}  // namespace sluice
