// Ports on DPDK ethernet devices. `device` is the TOML's device string: af_packet:eth1, pci:0000:3b:00.0, tap:NAME,
// ring:NAME, memif:..., null, pcap:IN,OUT, af_xdp:eth1, vhost:/path, virtio_user:/path.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/base/result.h"
#include "dataplane/port/port.h"

struct rte_mempool;

namespace sluice {

struct EthdevOptions {
  std::string name;  // the port's name in the configuration
  std::string device;
  std::string devargs;   // appended to the device's arguments as they are
  uint16_t workers = 1;  // queues asked for; the device may offer fewer receive queues
  uint16_t mtu = 1500;
};

// Which driver library and PCI address the device string needs, for EalOptions. Error: not a device string.
struct DeviceNeeds {
  std::string driver;
  std::string pci;
};
Result<DeviceNeeds> device_needs(const std::string& device);

// Creates, configures and starts it. `pool` feeds the receive queues and outlives the port.
Result<std::unique_ptr<Port>> make_ethdev_port(PortId id, const EthdevOptions& options, rte_mempool* pool);
// The same over an ethdev that exists already (tests: net_ring made by rte_eth_from_rings).
Result<std::unique_ptr<Port>> adopt_ethdev_port(PortId id, const EthdevOptions& options, uint16_t dpdk_port,
                                                rte_mempool* pool);

// Packet buffers with the pipeline's private area and enough headroom for the outer headers.
Result<rte_mempool*> make_packet_pool(const std::string& name, uint32_t buffers, uint16_t private_size, uint16_t mtu);

}  // namespace sluice
