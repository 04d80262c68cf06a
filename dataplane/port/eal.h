// Starts DPDK's environment once per process, and keeps its argument syntax away from everybody else.
#pragma once

#include <climits>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/base/result.h"

namespace sluice {

// In place of a core's number: a worker that Linux may run on any core, as other programs' threads.
inline constexpr unsigned kAnyCore = UINT_MAX;

struct EalOptions {
  std::vector<unsigned>
      worker_cores;  // CPU numbers, one lcore each; the calling thread becomes the main lcore (control)
  enum class Hugepages {
    kAuto,
    kRequired,
    kNever
  } hugepages = Hugepages::kAuto;  // kAuto: use them if there are enough
  unsigned memory_mib = 256;
  std::vector<std::string> drivers;  // "net_af_packet", ...: only these driver libraries are loaded
  std::vector<std::string> pci;      // allowed PCI addresses; empty: no PCI scan
};

// One line of what is wrong and how to mend it if the EAL refuses (hugepages missing, core does not exist, ...).
Result<void> start_eal(const EalOptions& options);
void stop_eal();

}  // namespace sluice
