// Says when the machine asks for a NIC back: it is being unplugged, or unbound from vfio-pci. The kernel waits until
// the device is let go of.
#pragma once

#include <atomic>
#include <string>

namespace sluice {

class RemovalNotice {
 public:
  explicit RemovalNotice(std::string pci);  // its address; empty: no NIC, never asked
  RemovalNotice(const RemovalNotice&) = delete;
  RemovalNotice& operator=(const RemovalNotice&) = delete;
  ~RemovalNotice();

  bool asked() const noexcept { return asked_.load(std::memory_order_relaxed); }

 private:
  const std::string pci_;
  std::atomic<bool> asked_{false};  // written by DPDK's interrupt thread
};

}  // namespace sluice
