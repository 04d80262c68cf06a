#include "dataplane/port/eal.h"

#include <dirent.h>
#include <fcntl.h>
#include <rte_build_config.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "dataplane/port/dpdk_log.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

// Some of EAL's complaints, and its usage text, bypass its log: standard output and error point to nowhere while it
// starts.
class Silence {
 public:
  Silence() {
    std::fflush(stdout);
    std::fflush(stderr);
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    for (int fd : {1, 2}) {
      saved_[fd - 1] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
      if (nowhere >= 0 && saved_[fd - 1] >= 0) dup2(nowhere, fd);
    }
    if (nowhere >= 0) close(nowhere);
  }
  ~Silence() {
    std::fflush(stdout);
    std::fflush(stderr);
    for (int fd : {1, 2}) {
      if (saved_[fd - 1] < 0) continue;
      dup2(saved_[fd - 1], fd);
      close(saved_[fd - 1]);
    }
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;

 private:
  int saved_[2];
};

std::vector<unsigned> usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<unsigned> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

// "0-3,6"
std::string cpu_list(const std::vector<unsigned>& sorted) {
  std::string text;
  for (size_t i = 0; i < sorted.size();) {
    size_t last = i;
    while (last + 1 < sorted.size() && sorted[last + 1] == sorted[last] + 1) ++last;
    if (!text.empty()) text += ',';
    text += std::to_string(sorted[i]);
    if (last > i) text += '-' + std::to_string(sorted[last]);
    i = last + 1;
  }
  return text;
}

bool contains(const std::vector<unsigned>& list, unsigned value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

Result<void> check_cores(const std::vector<unsigned>& workers, const std::vector<unsigned>& usable) {
  if (workers.size() + 1 > RTE_MAX_LCORE) {
    return Error{"workers: at most " + std::to_string(RTE_MAX_LCORE - 1) + ", not " + std::to_string(workers.size())};
  }
  for (size_t i = 0; i < workers.size(); ++i) {
    if (workers[i] == kAnyCore) continue;
    const std::string core = std::to_string(workers[i]);
    if (std::find(workers.begin(), workers.begin() + static_cast<ptrdiff_t>(i), workers[i]) !=
        workers.begin() + static_cast<ptrdiff_t>(i)) {
      return Error{"workers: core " + core + " is given twice; one worker per core"};
    }
    if (!contains(usable, workers[i])) {
      return Error{"workers: no core " + core + " here that this process may use; it may use " + cpu_list(usable)};
    }
  }
  return {};
}

// lcore 0 is control, on whatever cores the workers leave; lcore i + 1 is worker i, on its own core if it has one.
std::string lcore_map(const std::vector<unsigned>& workers, const std::vector<unsigned>& usable) {
  std::vector<unsigned> control;
  for (const unsigned cpu : usable) {
    if (!contains(workers, cpu)) control.push_back(cpu);
  }
  if (control.empty()) control = usable;
  std::string map = "0@(" + cpu_list(control) + ")";
  for (size_t i = 0; i < workers.size(); ++i) {
    const std::string core = workers[i] == kAnyCore ? '(' + cpu_list(usable) + ')' : std::to_string(workers[i]);
    map += ',' + std::to_string(i + 1) + '@' + core;
  }
  return map;
}

unsigned free_hugepage_mib() {
  std::error_code error;
  uint64_t kib = 0;
  for (const fs::directory_entry& size : fs::directory_iterator("/sys/kernel/mm/hugepages", error)) {
    unsigned long page_kib = 0;
    if (std::sscanf(size.path().filename().c_str(), "hugepages-%lukB", &page_kib) != 1) continue;
    uint64_t free_pages = 0;
    if (std::ifstream(size.path() / "free_hugepages") >> free_pages) kib += free_pages * page_kib;
  }
  return static_cast<unsigned>(kib / 1024);
}

Result<bool> choose_hugepages(const EalOptions& options) {
  if (options.hugepages == EalOptions::Hugepages::kNever) return false;
  const unsigned free_mib = free_hugepage_mib();
  if (free_mib >= options.memory_mib) return true;
  if (options.hugepages == EalOptions::Hugepages::kAuto) return false;
  return Error{"hugepages: " + std::to_string(options.memory_mib) + " MiB needed, " + std::to_string(free_mib) +
               " MiB free; make more with `sysctl vm.nr_hugepages=" + std::to_string((options.memory_mib + 1) / 2) +
               "` or do without them"};
}

// Without hugepages EAL touches all of its memory at start, and does not survive it if there is not enough.
Result<void> check_memory(unsigned wanted_mib) {
  const auto pages = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES));
  const uint64_t all_mib = pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) / (1024 * 1024);
  if (wanted_mib < all_mib) return {};
  return Error{"gateway.memory: " + std::to_string(wanted_mib) + " MiB wanted, but this machine has " +
                   std::to_string(all_mib) + " MiB of memory",
               ENOMEM};
}

// Without Debian's -dev package there is no librte_net_tap.so, only librte_net_tap.so.23 and the like.
bool is_installed(const std::string& driver) {
  const std::string name = "librte_" + driver + ".so";
  std::error_code error;
  for (const fs::directory_entry& file : fs::directory_iterator(RTE_EAL_PMD_PATH, error))
    if (file.path().filename().native().starts_with(name)) return true;
  return false;
}

// EAL loads every driver library that is installed; what we can do is to say which one is not.
Result<void> check_drivers(const std::vector<std::string>& drivers) {
  for (const std::string& driver : drivers) {
    if (is_installed(driver)) continue;
    std::string package = "librte-" + driver;
    std::replace(package.begin(), package.end(), '_', '-');
    return Error{"driver " + driver + " is not installed in " RTE_EAL_PMD_PATH "; on Debian `apt install '" + package +
                 "[0-9]*'`"};
  }
  return {};
}

std::vector<std::string> eal_arguments(const EalOptions& options, const std::vector<unsigned>& usable, bool hugepages) {
  std::vector<std::string> arguments{"sluice",   "--no-telemetry",
                                     "-m",       std::to_string(options.memory_mib),
                                     "--lcores", lcore_map(options.worker_cores, usable)};
  const auto add = [&](std::initializer_list<std::string> more) { arguments.insert(arguments.end(), more); };
  // Neither leaves files behind, and both allow several processes at once; EAL takes only one of the two ways each.
  if (hugepages) {
    add({"--in-memory"});
    // A virtio_user peer maps our memory by at most eight descriptors; memif's zero copy wants one per segment too.
    const auto& drivers = options.drivers;
    const bool shares = std::any_of(drivers.begin(), drivers.end(),
                                    [](const std::string& d) { return d == "net_virtio" || d == "net_memif"; });
    if (shares) add({"--single-file-segments"});
  } else {
    add({"--no-huge", "--no-shconf"});
  }
  if (options.pci.empty()) add({"--no-pci"});
  for (const std::string& address : options.pci) add({"-a", address});
  return arguments;
}

}  // namespace

Result<void> start_eal(const EalOptions& options) {
  const std::vector<unsigned> usable = usable_cpus();
  if (Result<void> cores = check_cores(options.worker_cores, usable); !cores) return cores.error();
  std::vector<std::string> needed = options.drivers;
  needed.push_back("mempool_ring");  // of packet buffers; without it making them fails as if for want of memory
  if (Result<void> drivers = check_drivers(needed); !drivers) return drivers.error();
  const Result<bool> hugepages = choose_hugepages(options);
  if (!hugepages) return hugepages.error();
  if (!*hugepages)
    if (Result<void> memory = check_memory(options.memory_mib); !memory) return memory.error();

  std::vector<std::string> arguments = eal_arguments(options, usable, *hugepages);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  catch_dpdk_log();
  forget_dpdk_log();
  int status;
  {
    const Silence silence;
    status = rte_eal_init(static_cast<int>(argv.size()), argv.data());
  }
  if (status >= 0) return {};
  const int error = rte_errno;
  if (error == EALREADY) return Error{"DPDK was started before in this process", error};
  const std::string memory = std::to_string(options.memory_mib) + " MiB of " + (*hugepages ? "hugepages" : "memory");
  return Error{with_dpdk_reason("DPDK does not start with " + memory, error), error};
}

void stop_eal() { rte_eal_cleanup(); }

}  // namespace sluice
