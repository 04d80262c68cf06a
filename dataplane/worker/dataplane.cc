#include "dataplane/worker/dataplane.h"

#include <rte_launch.h>
#include <rte_lcore.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <utility>

#include "dataplane/crypto/select.h"
#include "dataplane/port/eal.h"
#include "dataplane/worker/index_steering.h"
#include "dataplane/worker/qsbr_domain.h"

namespace sluice {
namespace {

// The lcore that start_eal() made for worker number `worker` on this core; LCORE_ID_ANY if there is none.
unsigned lcore_of(size_t worker, unsigned core) {
  unsigned lcore;
  if (core == kAnyCore) {
    lcore = static_cast<unsigned>(worker) + 1;
    return rte_lcore_is_enabled(lcore) != 0 ? lcore : LCORE_ID_ANY;
  }
  RTE_LCORE_FOREACH_WORKER(lcore) {
    const rte_cpuset_t cpus = rte_lcore_cpuset(lcore);
    if (CPU_COUNT(&cpus) == 1 && CPU_ISSET(core, &cpus)) return lcore;
  }
  return LCORE_ID_ANY;
}

int run_worker(void* worker) {
  static_cast<Worker*>(worker)->run();
  return 0;
}

// Where the workers are no power of two, some of the names that an index can carry are nobody's (SessionTable).
uint32_t slots_for(const Dataplane::Options& options) {
  return std::has_single_bit(options.worker_cores.size()) ? options.session_slots : options.session_slots * 2;
}

std::vector<Port*> pointers_to(const std::vector<std::unique_ptr<Port>>& ports) {
  std::vector<Port*> pointers;
  for (const auto& port : ports) pointers.push_back(port.get());
  return pointers;
}

Result<std::unique_ptr<AeadEngine>> make_named_engine(const std::string& name) {
  std::unique_ptr<AeadEngine> engine = make_engine(name);
  if (engine != nullptr) return engine;
  std::string available;
  for (const std::string_view one : available_engines())
    available += (available.empty() ? "" : ", ") + std::string(one);
  return Error{"engine \"" + name + "\": this CPU or build has none of that name; it has " + available};
}

}  // namespace

// Members are destroyed in reverse: workers give their packets back before mailboxes, ports and pool go.
struct Dataplane::State {
  State(Options o, PacketPool p, std::vector<std::unique_ptr<Port>> port_list, Rng& rng)
      : options(std::move(o)),
        pool(std::move(p)),
        ports(std::move(port_list)),
        port_pointers(pointers_to(ports)),
        steering(port_pointers, worker_count()),
        sessions(slots_for(options), rng, worker_count()),
        peers(options.max_peers),
        qsbr(worker_count()) {}

  uint16_t worker_count() const noexcept { return static_cast<uint16_t>(options.worker_cores.size()); }

  Options options;
  PacketPool pool;
  std::vector<std::unique_ptr<Port>> ports;
  std::vector<Port*> port_pointers;
  IndexSteering steering;
  SessionTable sessions;
  PeerTable peers;
  QsbrDomain qsbr;
  std::unique_ptr<const Published> root = std::make_unique<const Published>();
  std::atomic<const Published*> published{root.get()};  // workers: acquire; control: release
  Doorbell control_bell;
  std::vector<std::unique_ptr<Mailbox>> mailboxes;
  std::vector<Mailbox*> mailbox_pointers;
  std::unique_ptr<SpreadBoard> board;  // nullptr: no spreading
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<unsigned> running;  // lcores
};

Dataplane::Dataplane(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<Dataplane>> Dataplane::create(Options options, PacketPool pool,
                                                     std::vector<std::unique_ptr<Port>> ports, const Clock& clock,
                                                     Rng& rng) {
  const size_t count = options.worker_cores.size();
  if (count == 0 || count > kMaxWorkers) {
    return Error{"workers: 1 to " + std::to_string(kMaxWorkers) + " of them, not " + std::to_string(count)};
  }
  auto state = std::make_unique<State>(std::move(options), std::move(pool), std::move(ports), rng);
  State& s = *state;
  if (s.control_bell.fd() < 0) {
    return Error{"no event descriptor; raise the limit of open files (ulimit -n)", EMFILE};
  }
  for (uint8_t i = 0; i < count; ++i) {
    const unsigned lcore = lcore_of(i, s.options.worker_cores[i]);
    const int numa_node = lcore == LCORE_ID_ANY ? SOCKET_ID_ANY : static_cast<int>(rte_lcore_to_socket_id(lcore));
    Result<std::unique_ptr<Mailbox>> mailbox = Mailbox::create(WorkerId{i}, s.options.mailboxes, numa_node);
    if (!mailbox) return mailbox.error();
    (*mailbox)->control_bell = &s.control_bell;
    s.mailbox_pointers.push_back(mailbox->get());
    s.mailboxes.push_back(std::move(*mailbox));
  }
  if (s.options.spread) s.board = std::make_unique<SpreadBoard>(count);
  for (uint8_t i = 0; i < count; ++i) {
    Result<std::unique_ptr<AeadEngine>> engine = make_named_engine(s.options.engine);
    if (!engine) return engine.error();
    s.workers.push_back(std::make_unique<Worker>(Worker::Parts{
        .id = WorkerId{i},
        .worker_count = static_cast<uint16_t>(count),
        .clock = &clock,
        .engine = std::move(*engine),
        .pool = s.pool.get(),
        .sessions = &s.sessions,
        .peers = &s.peers,
        .ports = s.port_pointers,
        .mailboxes = s.mailbox_pointers,
        .published = &s.published,
        .qsbr = s.qsbr.get(),
        .idle = s.options.idle,
        .board = s.board.get(),
        .spread = s.options.spread.value_or(Spread::Options{}),
        .timed_polls = s.options.timed_polls,
    }));
  }
  return std::unique_ptr<Dataplane>(new Dataplane(std::move(state)));
}

Dataplane::~Dataplane() {
  stop();
  drain();
}

Result<void> Dataplane::start() {
  State& s = *state_;
  for (size_t i = 0; i < s.workers.size(); ++i) {
    const unsigned core = s.options.worker_cores[i];
    const unsigned lcore = lcore_of(i, core);
    const std::string where = "worker " + std::to_string(i) + " on core " + std::to_string(core) + ": ";
    if (lcore == LCORE_ID_ANY) {
      stop();
      return Error{where + "DPDK was started without this core"};
    }
    s.workers[i]->allow_run();
    if (const int status = rte_eal_remote_launch(run_worker, s.workers[i].get(), lcore); status != 0) {
      stop();
      return Error{where + "its thread is busy", -status};
    }
    s.running.push_back(lcore);
  }
  return {};
}

void Dataplane::stop() {
  for (size_t i = 0; i < state_->running.size(); ++i) state_->workers[i]->stop();
  for (const unsigned lcore : state_->running) rte_eal_wait_lcore(lcore);
  state_->running.clear();
}

Result<void> Dataplane::let_go(PortId port) {
  const bool were_running = !state_->running.empty();
  stop();
  for (const auto& worker : state_->workers) {
    for (const Port* one : state_->port_pointers)
      if (one != nullptr && (one->id() == port || one->parent() == port)) worker->forget(one->id());
  }
  Result<void> running = were_running ? start() : Result<void>();
  state_->ports[port.value]->give_back();  // takes a driver milliseconds, during which the other ports' packets move
  return running;
}

void Dataplane::publish(std::unique_ptr<Published> root) {
  State& s = *state_;
  root->version = s.root->version + 1;
  s.published.store(root.get(), std::memory_order_release);  // pairs with the workers' load at the start of a poll
  // std::function wants something copyable.
  std::shared_ptr<const Published> old = std::exchange(s.root, std::move(root));
  s.qsbr.retire([old = std::move(old)]() mutable { old.reset(); });
  s.steering.follow(*s.root);
}

const Published& Dataplane::published() const noexcept { return *state_->root; }
void Dataplane::retire(std::function<void()> free_it) { state_->qsbr.retire(std::move(free_it)); }
void Dataplane::collect() { state_->qsbr.collect(); }
size_t Dataplane::retired() const noexcept { return state_->qsbr.waiting(); }
void Dataplane::drain() { state_->qsbr.free_all(); }

WorkerId Dataplane::worker_for(PeerId peer) const noexcept {
  return WorkerId{static_cast<uint8_t>(peer.slot % worker_count())};
}

WorkerId Dataplane::owner_of(uint32_t local_index, PortId port, WorkerId received_by) const {
  return state_->steering.worker_of(local_index, port).value_or(received_by);
}

SessionTable& Dataplane::sessions() noexcept { return state_->sessions; }
PeerTable& Dataplane::peers() noexcept { return state_->peers; }
std::span<const std::unique_ptr<Worker>> Dataplane::workers() noexcept { return state_->workers; }
Mailbox& Dataplane::mailbox(WorkerId worker) noexcept { return *state_->mailboxes[worker.value]; }
Doorbell& Dataplane::control_bell() noexcept { return state_->control_bell; }
std::span<Port* const> Dataplane::ports() noexcept { return state_->port_pointers; }
rte_mempool* Dataplane::pool() noexcept { return state_->pool.get(); }
std::string_view Dataplane::engine_name() const noexcept { return state_->workers.front()->engine_name(); }
uint16_t Dataplane::worker_count() const noexcept { return static_cast<uint16_t>(state_->workers.size()); }

uint64_t Dataplane::drops(Drop reason) const noexcept {
  uint64_t sum = 0;
  for (const auto& worker : state_->workers) sum += worker->drops().get(reason);
  return sum;
}

}  // namespace sluice
