#include "dataplane/pipeline/mailbox.h"

#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <type_traits>

namespace sluice {
namespace {

// Rings copy elements as words of four bytes.
static_assert(std::is_trivially_copyable_v<Event> && sizeof(Event) % 4 == 0);
static_assert(std::is_trivially_copyable_v<Command> && sizeof(Command) % 4 == 0);
static_assert(std::is_trivially_copyable_v<PeerId> && sizeof(PeerId) % 4 == 0);

constexpr unsigned kMaxSlots = 1u << 24;  // DPDK's own limit overflows quietly
constexpr unsigned kSingleProducerSingleConsumer = RING_F_SP_ENQ | RING_F_SC_DEQ;

// DPDK wants process-wide unique names; the owner's address makes them so while it lives.
rte_ring* create_ring(const char* what, const void* owner, unsigned element_size, unsigned slots, int numa_node,
                      unsigned flags) {
  char name[RTE_RING_NAMESIZE];
  std::snprintf(name, sizeof name, "%s-%lx", what, reinterpret_cast<unsigned long>(owner));
  return rte_ring_create_elem(name, element_size, slots, numa_node, flags | RING_F_EXACT_SZ);
}

void ring_if_set(Doorbell* bell) noexcept {
  if (bell != nullptr) bell->ring();
}

}  // namespace

Doorbell::Doorbell() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Doorbell::~Doorbell() {
  if (fd_ >= 0) close(fd_);
}

void Doorbell::prepare_sleep() noexcept {
  sleeping_.store(true, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with the fence in ring()
}

void Doorbell::woke_up() noexcept { sleeping_.store(false, std::memory_order_relaxed); }

void Doorbell::clear() noexcept {
  uint64_t rung;
  [[maybe_unused]] const ssize_t n = read(fd_, &rung, sizeof rung);
}

void Doorbell::ring() noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with the fence in prepare_sleep()
  if (!sleeping_.load(std::memory_order_relaxed)) return;
  if (!sleeping_.exchange(false, std::memory_order_relaxed)) return;  // another one rang for this sleep
  const uint64_t once = 1;
  [[maybe_unused]] const ssize_t n = write(fd_, &once, sizeof once);  // EAGAIN: readable already
}

Result<std::unique_ptr<Mailbox>> Mailbox::create(WorkerId worker, const Sizes& sizes, int numa_node) {
  std::unique_ptr<Mailbox> box(new Mailbox);
  const std::string where = "mailbox of worker " + std::to_string(worker.value) + ": ";
  if (box->worker_bell.fd() < 0) {
    const int error = errno;
    return Error{where + "no event descriptor; raise the limit of open files (ulimit -n)", error};
  }
  struct Wanted {
    Ring* ring;
    const char* name;
    size_t element_size;
    unsigned slots, flags;
  };
  const Wanted rings[] = {
      {&box->handshakes_, "handshakes", sizeof(rte_mbuf*), sizes.handshakes, kSingleProducerSingleConsumer},
      {&box->punts_, "punts", sizeof(rte_mbuf*), sizes.punts, kSingleProducerSingleConsumer},
      {&box->events_, "events", sizeof(Event), sizes.events, kSingleProducerSingleConsumer},
      {&box->inbox_, "inbox", sizeof(Command), sizes.inbox, kSingleProducerSingleConsumer},
      {&box->ready_, "ready", sizeof(PeerId), sizes.ready, RING_F_SC_DEQ},
  };
  for (const Wanted& w : rings) {
    if (w.slots == 0 || w.slots > kMaxSlots) {
      return Error{where + "the " + w.name + " ring may have 1 to " + std::to_string(kMaxSlots) + " entries, not " +
                   std::to_string(w.slots)};
    }
    w.ring->reset(create_ring(w.name, box.get(), static_cast<unsigned>(w.element_size), w.slots, numa_node, w.flags));
    if (*w.ring != nullptr) continue;
    const int error = rte_errno;
    return Error{where + "cannot make the " + w.name + " ring of " + std::to_string(w.slots) +
                     " entries: " + rte_strerror(error) + "; raise gateway.memory",
                 error};
  }
  return box;
}

Mailbox::~Mailbox() {
  for (const Ring* ring : {&handshakes_, &punts_}) {
    void* packet;
    while (*ring != nullptr && rte_ring_sc_dequeue(ring->get(), &packet) == 0) {
      rte_pktmbuf_free(static_cast<rte_mbuf*>(packet));
    }
  }
  Command command;
  while (inbox_ != nullptr && take_commands(&command, 1) == 1) rte_pktmbuf_free(command.packet);
}

unsigned Mailbox::post_handshakes(rte_mbuf** packets, unsigned n) noexcept {
  const unsigned taken =
      rte_ring_sp_enqueue_burst(handshakes_.get(), reinterpret_cast<void* const*>(packets), n, nullptr);
  if (taken != 0) ring_if_set(control_bell);
  return taken;
}

unsigned Mailbox::post_punts(rte_mbuf** packets, unsigned n) noexcept {
  const unsigned taken = rte_ring_sp_enqueue_burst(punts_.get(), reinterpret_cast<void* const*>(packets), n, nullptr);
  if (taken != 0) ring_if_set(control_bell);
  return taken;
}

bool Mailbox::post_event(const Event& event) noexcept {
  if (rte_ring_sp_enqueue_elem(events_.get(), const_cast<Event*>(&event), sizeof event) != 0) return false;
  ring_if_set(control_bell);
  return true;
}

unsigned Mailbox::take_commands(Command* commands, unsigned n) noexcept {
  return rte_ring_sc_dequeue_burst_elem(inbox_.get(), commands, sizeof *commands, n, nullptr);
}

unsigned Mailbox::take_ready(PeerId* peers, unsigned n) noexcept {
  return rte_ring_sc_dequeue_burst_elem(ready_.get(), peers, sizeof *peers, n, nullptr);
}

bool Mailbox::worker_has_work() const noexcept {
  return rte_ring_empty(inbox_.get()) == 0 || rte_ring_empty(ready_.get()) == 0;
}

bool Mailbox::post_ready(PeerId peer) noexcept {
  if (rte_ring_mp_enqueue_elem(ready_.get(), &peer, sizeof peer) != 0) return false;
  worker_bell.ring();
  return true;
}

unsigned Mailbox::take_handshakes(rte_mbuf** packets, unsigned n) noexcept {
  return rte_ring_sc_dequeue_burst(handshakes_.get(), reinterpret_cast<void**>(packets), n, nullptr);
}

unsigned Mailbox::take_punts(rte_mbuf** packets, unsigned n) noexcept {
  return rte_ring_sc_dequeue_burst(punts_.get(), reinterpret_cast<void**>(packets), n, nullptr);
}

unsigned Mailbox::take_events(Event* events, unsigned n) noexcept {
  return rte_ring_sc_dequeue_burst_elem(events_.get(), events, sizeof *events, n, nullptr);
}

unsigned Mailbox::handshakes_waiting() const noexcept { return rte_ring_count(handshakes_.get()); }

bool Mailbox::post_command(const Command& command) noexcept {
  if (rte_ring_sp_enqueue_elem(inbox_.get(), const_cast<Command*>(&command), sizeof command) != 0) return false;
  worker_bell.ring();
  return true;
}

bool Mailbox::control_has_work() const noexcept {
  return rte_ring_empty(handshakes_.get()) == 0 || rte_ring_empty(punts_.get()) == 0 ||
         rte_ring_empty(events_.get()) == 0;
}

}  // namespace sluice
