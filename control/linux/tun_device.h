// Makes TUN and TAP interfaces.
#pragma once

#include <string>

#include "dataplane/base/result.h"

namespace sluice {

// The non-blocking descriptor of a new interface, which exists and is down, and goes with its descriptor. `flags`:
// IFF_TUN or IFF_TAP, IFF_VNET_HDR and so on; IFF_NO_PI is implied. Errors are one line and say how to mend it: no
// /dev/net/tun, no CAP_NET_ADMIN, name taken, name too long.
Result<int> create_tun_device(const std::string& name, short flags);

// One more queue of an interface that was made with the same `flags`, IFF_MULTI_QUEUE among them.
Result<int> attach_tun_queue(const std::string& name, short flags);

}  // namespace sluice
