// Resolves names of endpoints without holding up control: one thread asks, answers come back through a descriptor of
// the event loop.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "control/loop/event_loop.h"
#include "dataplane/base/net.h"

namespace sluice {

class Resolver {
 public:
  // nullopt: the name does not resolve (now). Called on the control thread, from the event loop.
  using Done = std::function<void(std::optional<Endpoint>)>;

  explicit Resolver(EventLoop& loop);
  ~Resolver();  // does not wait for a question that is still being asked
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  void resolve(const std::string& host, uint16_t port, Done done);

 private:
  struct Shared;
  void deliver();

  EventLoop& loop_;
  std::shared_ptr<Shared> shared_;  // with the thread
};

}  // namespace sluice
