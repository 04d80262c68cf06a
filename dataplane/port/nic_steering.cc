#include "dataplane/port/nic_steering.h"

#include <algorithm>

namespace sluice {
namespace {

std::vector<SteeringRule> rules_for(uint16_t listen_port, const QueueByIndex& queues) {
  std::vector<SteeringRule> rules;
  for (const Family family : {Family::kIpv4, Family::kIpv6})
    for (uint32_t index = 0; index < queues.queues.size(); ++index)
      rules.push_back({family, listen_port, index, queues.mask(), queues.queue_of(index)});
  return rules;
}

}  // namespace

void NicSteering::follow(const QueueByIndex& queues, std::span<const uint16_t> listen_ports) {
  if (queues != queues_) clear();
  queues_ = queues;
  std::erase_if(flows_, [&](const auto& entry) {
    const bool stays = std::ranges::count(listen_ports, entry.first) != 0;
    if (!stays) remove(entry.second);
    return !stays;
  });
  state_ = {};
  for (const uint16_t port : listen_ports) {
    if (flows_.contains(port)) continue;
    if (const Result<void> done = install(port); !done) {
      clear();
      state_ = {Steering::State::kRefused, done.error().what};
      return;
    }
  }
  if (!flows_.empty()) state_.state = Steering::State::kOn;
}

Result<void> NicSteering::install(uint16_t listen_port) {
  const std::vector<SteeringRule> rules = rules_for(listen_port, queues_);
  for (const SteeringRule& rule : rules)
    if (Result<void> valid = table_->validate(rule); !valid) return valid;
  for (const SteeringRule& rule : rules) {
    const Result<rte_flow*> made = table_->create(rule);
    if (!made) return made.error();
    flows_[listen_port].push_back(*made);
  }
  return {};
}

void NicSteering::remove(const std::vector<rte_flow*>& flows) noexcept {
  for (rte_flow* flow : flows) table_->destroy(flow);
}

void NicSteering::clear() noexcept {
  for (const auto& [port, flows] : flows_) remove(flows);
  flows_.clear();
}

}  // namespace sluice
