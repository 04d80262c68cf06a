// Says once what became of a port's steering (port/steering.h): that the device does it, or which driver said what.
// Control thread only.
#pragma once

#include <map>
#include <span>

#include "dataplane/port/port.h"

namespace sluice {

class SteeringLog {
 public:
  void look_at(std::span<Port* const> ports);  // whenever the listen ports may have changed

 private:
  std::map<PortId, Steering> said_;
};

}  // namespace sluice
