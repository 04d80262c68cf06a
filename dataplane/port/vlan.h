// A VLAN (802.1Q) as a port of its own, beside others on the cable of its parent.
#pragma once

#include <memory>
#include <string>

#include "dataplane/port/port.h"

namespace sluice {

struct VlanOptions {
  std::string name;
  uint16_t vlan = 0;  // 1..4094
  uint16_t mtu = 1500;
  uint16_t workers = 1;
};

// Receives nothing by itself: the line finds its frames among those of `parent`, which outlives it.
std::unique_ptr<Port> make_vlan_port(PortId id, const VlanOptions& options, Port& parent);

}  // namespace sluice
