// A NIC steers by rules: one for each value of an index's low bits, outer family and listen port. All of them are in
// its table or none is: a device that takes only some is left to RSS. Control thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/base/result.h"
#include "dataplane/port/flow_rule.h"
#include "dataplane/port/steering.h"

struct rte_flow;

namespace sluice {

// A device's rules. Errors: what the driver says, with its name.
class RuleTable {
 public:
  virtual ~RuleTable() = default;
  virtual Result<void> validate(const SteeringRule& rule) = 0;  // changes nothing
  virtual Result<rte_flow*> create(const SteeringRule& rule) = 0;
  virtual void destroy(rte_flow* flow) noexcept = 0;
};
// Of a started ethdev; gone before it is stopped.
std::unique_ptr<RuleTable> make_ethdev_rules(uint16_t dpdk_port);

class NicSteering {
 public:
  explicit NicSteering(std::unique_ptr<RuleTable> table) : table_(std::move(table)) {}
  ~NicSteering() { clear(); }
  NicSteering(const NicSteering&) = delete;
  NicSteering& operator=(const NicSteering&) = delete;

  // Rules of ports that are not in the list any more go, those of new ones come. Of a refused list nothing stays; the
  // next list is a new attempt.
  void follow(const QueueByIndex& queues, std::span<const uint16_t> listen_ports);
  const Steering& state() const noexcept { return state_; }

 private:
  Result<void> install(uint16_t listen_port);
  void remove(const std::vector<rte_flow*>& flows) noexcept;
  void clear() noexcept;

  std::unique_ptr<RuleTable> table_;
  QueueByIndex queues_;
  std::map<uint16_t, std::vector<rte_flow*>> flows_;  // by listen port
  Steering state_;
};

}  // namespace sluice
