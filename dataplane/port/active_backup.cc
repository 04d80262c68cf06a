#include "dataplane/port/active_backup.h"

#include <rte_alarm.h>
#include <rte_eth_bond.h>
#include <rte_ethdev.h>

#include <algorithm>
#include <utility>

#include "dataplane/port/interface.h"

namespace sluice {
namespace {

constexpr uint64_t kIntervalUs = 100'000;

bool has_link(const ActiveBackup::Member& member) {
  rte_eth_link link{};
  if (rte_eth_link_get_nowait(member.ethdev, &link) != 0 || link.link_status != RTE_ETH_LINK_UP) return false;
  return member.interface.empty() || has_carrier(member.interface);
}

}  // namespace

ActiveBackup::ActiveBackup(uint16_t bond, std::vector<Member> members) : bond_(bond), members_(std::move(members)) {
  look_again(this);
}

ActiveBackup::~ActiveBackup() { rte_eal_alarm_cancel(look_again, this); }  // waits while it is being called

void ActiveBackup::look_again(void* self) {
  static_cast<ActiveBackup*>(self)->look();
  rte_eal_alarm_set(kIntervalUs, look_again, self);
}

void ActiveBackup::look() {
  const int active = rte_eth_bond_primary_get(bond_);
  const auto is_active = [&](const Member& member) { return member.ethdev == active; };
  if (const auto it = std::find_if(members_.begin(), members_.end(), is_active); it != members_.end() && has_link(*it))
    return;
  if (const auto it = std::find_if(members_.begin(), members_.end(), has_link); it != members_.end()) activate(*it);
}

// The bond hands its address and its filters to the active member only, when it chooses that itself.
void ActiveBackup::activate(const Member& member) {
  if (rte_eth_bond_primary_set(bond_, member.ethdev) != 0) return;
  rte_ether_addr address;
  if (rte_eth_macaddr_get(bond_, &address) == 0) rte_eth_bond_mac_address_set(bond_, &address);
  if (rte_eth_allmulticast_get(bond_) == 1) rte_eth_allmulticast_enable(member.ethdev);
  if (rte_eth_promiscuous_get(bond_) == 1) rte_eth_promiscuous_enable(member.ethdev);
}

}  // namespace sluice
