// The daemon's side of control/api/protocol.h: answers about what is running, and reload. Control thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "control/api/request.h"
#include "control/gateway/configurator.h"
#include "control/loop/unix_server.h"
#include "control/wg/wireguard.h"

namespace sluice {

class ApiServer {
 public:
  // What it says of the daemon and cannot ask the data plane for; the same for the daemon's life.
  struct About {
    std::string gateway;               // name; in drop-in mode the interface's
    std::vector<unsigned> cores;       // of the workers; kAnyCore: wherever Linux puts them
    std::vector<std::string> devices;  // of the ports, as users write them
  };
  struct Parts {  // everything here outlives it
    const Clock& clock;
    Dataplane& dataplane;
    Wireguard& wireguard;
    Configurator* configurator;  // nullptr: there is no file to reload
    const DropCounters& control_drops;
  };
  ApiServer(Parts parts, About about) : parts_(parts), about_(std::move(about)), started_(parts.clock.now()) {}

  std::unique_ptr<Conversation> converse();         // one per client
  std::string answer(const api::Request& request);  // one line of JSON, without the newline

 private:
  Parts parts_;
  About about_;
  MonoTime started_;
};

}  // namespace sluice
