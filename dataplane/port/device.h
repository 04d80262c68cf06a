// Device strings of the configuration ("af_packet:eth1") and what they mean to DPDK.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dataplane/base/result.h"

namespace sluice {

struct Device {
  std::string driver;       // "net_af_packet"; empty for PCI, where the device itself decides
  std::string library;      // the driver's library, where its name is not the driver's
  std::string pci;          // "0000:3b:00.0"
  std::string name;         // the DPDK device's own name, where the string gives it
  std::string arguments;    // DPDK's devargs, without those that depend on the port (queues, frame size)
  std::string interface;    // kernel interface it takes its frames from; must exist
  std::string listens_at;   // Unix socket that it makes
  std::string connects_to;  // Unix socket that must be there

  // Receive interrupts are worth asking for. Not of virtio_user: its driver (22.11) frees itself on close while DPDK's
  // interrupt thread is still in its handler, and crashes every other time.
  bool interrupts = true;

  enum class QueuesArgument : uint8_t { kNone, kQpairs, kQueues } queues = QueuesArgument::kNone;
};

// Error: not a device string; says what is.
Result<Device> parse_device(const std::string& text);

inline constexpr uint16_t kDescriptors = 1024;  // per queue, where the device has a choice

// All of the driver's arguments: the device's, those that depend on the port, and `devargs`, which have the last word.
std::string port_arguments(const Device& device, uint16_t workers, uint16_t mtu, std::string_view devargs);

}  // namespace sluice
