// Which member of an active-backup bond carries the packets when some are kernel interfaces: their DPDK drivers never
// tell the bond that a link was lost, so it would stay with a dead one. Looks ten times a second (what Linux's bonding
// is usually set to, miimon 100) in DPDK's alarm thread. A member stays the active one as long as it has a link.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

class ActiveBackup {
 public:
  struct Member {
    uint16_t ethdev;
    std::string interface;  // Linux's, whose carrier counts as well; empty: the driver knows
  };
  // From construction to destruction, both while the bond is started. Workers may use it all the time: what changes for
  // them is one number in the bond.
  ActiveBackup(uint16_t bond, std::vector<Member> members);
  ActiveBackup(const ActiveBackup&) = delete;
  ActiveBackup& operator=(const ActiveBackup&) = delete;
  ~ActiveBackup();

 private:
  static void look_again(void* self);
  void look();
  void activate(const Member& member);

  const uint16_t bond_;
  const std::vector<Member> members_;  // in order of preference
};

}  // namespace sluice
