// Ports on DPDK ethernet devices. `device` is the TOML's device string: af_packet:eth1, pci:0000:3b:00.0, tap:NAME,
// ring:NAME, memif:..., null, pcap:IN,OUT, af_xdp:eth1, vhost:/path, virtio_user:/path.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/base/handle.h"
#include "dataplane/base/result.h"
#include "dataplane/port/port.h"

struct rte_mempool;
extern "C" void rte_mempool_free(rte_mempool*);

namespace sluice {

struct EthdevOptions {
  std::string name;  // the port's name in the configuration
  std::string device;
  std::vector<std::string> members;  // device strings: the port is a bond of these, and `device` is empty
  enum class Bond : uint8_t {
    kActiveBackup,
    kLacp,
  } bond = Bond::kActiveBackup;
  std::string devargs;     // appended to the device's arguments as they are (for PCI: given to the EAL, DeviceNeeds)
  uint16_t workers = 1;    // queues asked for; the device may offer fewer receive queues
  uint16_t mtu = 1500;     // largest IP packet
  std::optional<Mac> mac;  // none: the device's own
  uint16_t vlan = 0;       // every frame of the port itself is tagged so; 0: none is
  bool steering = true;    // if the device can (port/steering.h)
  std::vector<uint16_t> vlans;  // all tags that are somebody's, `vlan` too: what the device passes on
};

// What the device string needs of the EAL, for EalOptions. Error: not a device string.
struct DeviceNeeds {
  std::string driver;  // driver library; empty for PCI: the device decides
  std::string pci;     // PCI address, and after a comma the devargs
};
Result<DeviceNeeds> device_needs(const std::string& device, const std::string& devargs = {});

// Creates, configures and starts it. `pool` feeds the receive queues and outlives the port. After an error nothing is
// left of it.
Result<std::unique_ptr<Port>> make_ethdev_port(PortId id, const EthdevOptions& options, rte_mempool* pool);
// The same over an ethdev that exists already (tests: net_ring made by rte_eth_from_rings); it is closed and removed
// with the port, and on error.
Result<std::unique_ptr<Port>> adopt_ethdev_port(PortId id, const EthdevOptions& options, uint16_t dpdk_port,
                                                rte_mempool* pool);

// Packet buffers with the pipeline's private area, and room for frames of that MTU with outer headers in front and
// padding and tag behind.
using PacketPool = Handle<rte_mempool, rte_mempool_free>;
// What a pool of them takes, in bytes.
size_t packet_pool_size(uint32_t buffers, uint16_t private_size, uint16_t mtu) noexcept;
Result<PacketPool> make_packet_pool(const std::string& name, uint32_t buffers, uint16_t private_size, uint16_t mtu);

}  // namespace sluice
