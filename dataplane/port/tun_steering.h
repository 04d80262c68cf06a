// Which queue of a TUN Linux hands a packet to.
#pragma once

#include "dataplane/base/result.h"

namespace sluice {

// By the packet's addresses, of TCP by ports as well: all packets of a flow come by one queue, fragments of a datagram
// and whole datagrams alike (Linux's own choice follows the other direction and changes under way). `fd` is any queue
// of the TUN. Error: this process may not load the program (bpf(2): CAP_BPF), or the kernel knows no such thing.
Result<void> steer_by_flow(int fd);

}  // namespace sluice
