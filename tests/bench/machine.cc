#include "tests/bench/machine.h"

#include <sched.h>

#include <stdexcept>

#include "dataplane/crypto/primitives.h"
#include "dataplane/port/eal.h"

namespace sluice::bench {
namespace {

constexpr size_t kWorkers = 2;
constexpr unsigned kMemoryMib = 256;

std::vector<unsigned> first_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  std::vector<unsigned> cores;
  for (unsigned cpu = 0; cpu < CPU_SETSIZE && cores.size() < kWorkers; ++cpu)
    if (CPU_ISSET(cpu, &set)) cores.push_back(cpu);
  return cores;
}

void stay_on(unsigned core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  sched_setaffinity(0, sizeof set, &set);
}

}  // namespace

const std::vector<unsigned>& Machine::worker_cores() {
  static const std::vector<unsigned> cores = first_cores();
  return cores;
}

Machine::Machine() {
  if (!crypto_init()) throw std::runtime_error("no usable randomness");
  const Result<void> started = start_eal({.worker_cores = worker_cores(), .memory_mib = kMemoryMib});
  if (!started) throw std::runtime_error(started.error().what);
  stay_on(worker_cores().back());  // its lcore sleeps while the bench polls the workers itself
}

Machine::~Machine() { stop_eal(); }

}  // namespace sluice::bench
