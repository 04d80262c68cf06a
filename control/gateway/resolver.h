// Resolves names of endpoints without holding up control: a few threads ask, answers come back through a descriptor of
// the event loop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "control/loop/event_loop.h"
#include "dataplane/base/net.h"

namespace sluice {

class Resolver {
 public:
  // What the name stands for, both families, in the order of RFC 6724; ports are 0. Empty: it does not resolve (now).
  // Called on the control thread, from the event loop.
  using Done = std::function<void(std::vector<Endpoint>)>;

  explicit Resolver(EventLoop& loop);
  ~Resolver();  // does not wait for questions that are still being asked
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Whoever asks for a name that is waiting to be asked gets the same answer.
  void resolve(const std::string& host, Done done);

 private:
  struct Shared;
  void deliver();

  EventLoop& loop_;
  std::shared_ptr<Shared> shared_;  // with the threads
};

}  // namespace sluice
