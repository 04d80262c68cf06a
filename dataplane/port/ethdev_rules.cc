// NIC rules by DPDK's generic flow API.
#include <rte_ethdev.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "dataplane/port/dpdk_log.h"
#include "dataplane/port/nic_steering.h"

namespace sluice {
namespace {

class EthdevRules final : public RuleTable {
 public:
  EthdevRules(uint16_t port, std::string driver)
      : port_(port), driver_(std::move(driver)), form_(raw_form_of(driver_)) {}

  Result<void> validate(const SteeringRule& wanted) override {
    const FlowRule rule(wanted, form_);
    rte_flow_error said{};
    const int status = rte_flow_validate(port_, rule.attributes(), rule.pattern(), rule.actions(), &said);
    if (status != 0) return why_not(said, -status);
    return {};
  }

  Result<rte_flow*> create(const SteeringRule& wanted) override {
    const FlowRule rule(wanted, form_);
    rte_flow_error said{};
    rte_flow* flow = rte_flow_create(port_, rule.attributes(), rule.pattern(), rule.actions(), &said);
    if (flow == nullptr) return why_not(said, rte_errno);
    return flow;
  }

  void destroy(rte_flow* flow) noexcept override {
    rte_flow_error said;
    rte_flow_destroy(port_, flow, &said);
  }

 private:
  Error why_not(const rte_flow_error& said, int error) const {
    return {driver_ + ": " + (said.message != nullptr ? said.message : std::strerror(error)), error};
  }

  uint16_t port_;
  std::string driver_;
  RawForm form_;
};

}  // namespace

std::unique_ptr<RuleTable> make_ethdev_rules(uint16_t dpdk_port) {
  rte_eth_dev_info info{};
  const bool known = rte_eth_dev_info_get(dpdk_port, &info) == 0 && info.driver_name != nullptr;
  return std::make_unique<EthdevRules>(dpdk_port, known ? info.driver_name : "its driver");
}

}  // namespace sluice
