// Chooses among the sockets of one UDP port (SO_REUSEPORT), as a NIC's rules choose among its queues.
#pragma once

#include <cstdint>

#include "dataplane/base/result.h"
#include "dataplane/port/steering.h"

namespace sluice {

// Data messages go to the socket of that number in their group, in the order of binding, modulo `sockets`; all others
// wherever Linux spreads them by address and port. `fd` is any socket of the group, which keeps this until it is
// closed. Needs no privilege.
Result<void> steer_by_index(int fd, const QueueByIndex& queues, uint16_t sockets);

}  // namespace sluice
