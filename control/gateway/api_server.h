// The daemon's side of control/api/protocol.h: answers about what is running, and reload. Control thread only.
#pragma once

#include <memory>
#include <string>

#include "control/api/request.h"
#include "control/gateway/configurator.h"
#include "control/loop/unix_server.h"
#include "control/wg/wireguard.h"

namespace sluice {

class ApiServer {
 public:
  struct Parts {  // everything here outlives it
    const Clock& clock;
    Dataplane& dataplane;
    Wireguard& wireguard;
    Configurator& configurator;
    const DropCounters& control_drops;
  };
  explicit ApiServer(Parts parts) : parts_(parts), started_(parts.clock.now()) {}

  std::unique_ptr<Conversation> converse();         // one per client
  std::string answer(const api::Request& request);  // one line of JSON, without the newline

 private:
  Parts parts_;
  MonoTime started_;
};

}  // namespace sluice
