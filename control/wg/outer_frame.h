// Outer packets that control writes itself: handshake messages. (The workers' own path for data is
// dataplane/pipeline.)
#pragma once

#include <cstdint>

#include "dataplane/base/net.h"
#include "dataplane/session/outer_route.h"
#include "dataplane/wire/messages.h"

struct rte_mbuf;
struct rte_mempool;

namespace sluice {

// A complete frame around `message`, checksums filled in; nullptr: no buffer. `route` must be ready.
rte_mbuf* make_outer_frame(rte_mempool* pool, const OuterRoute& route, ConstBytes message, uint8_t tos) noexcept;

}  // namespace sluice
