// A kernel interface that a port takes its frames from (af_packet, af_xdp): looked up and made ready.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/base/result.h"

namespace sluice {

// Sets it up if it is down, and raises its MTU if it is smaller. Gives the interface's index. Errors: no such
// interface, no permission, MTU refused.
Result<unsigned> prepare_interface(const std::string& interface, uint16_t mtu);

// This process's sockets that drivers receive frames from, in the order in which they were opened: of AF_XDP, or of
// AF_PACKET and bound to that interface. DPDK has no interface to wait for these drivers' queues; their sockets can be
// polled. Call it before and after a driver opens its queues: the new ones belong to it.
std::vector<int> frame_sockets(unsigned interface_index);

}  // namespace sluice
