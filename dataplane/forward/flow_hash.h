// A number that all packets of a flow share, so that they take the same of several ways and keep their order. Workers
// and control.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "dataplane/base/random.h"
#include "dataplane/wire/ip.h"

namespace sluice {

// SipHash under a key of this start, as Linux has it for multipath routes: nobody outside can choose flows that all
// take the same way, and gateways one behind the other do not choose alike.
class FlowHash {
 public:
  FlowHash() = default;  // always the same: for tests
  explicit FlowHash(Rng& rng) noexcept { rng.fill(key_); }

  // Of a sound IP packet's addresses and protocol, and of its ports where they are in every packet of the flow: not of
  // fragments, and not behind IPv6 extension headers.
  uint32_t of(ConstBytes packet) const noexcept;

  // Of datagrams that the gateway itself sends to `remote`.
  uint32_t of(const Endpoint& remote) const noexcept;

 private:
  uint32_t hash(ConstBytes flow) const noexcept;

  std::array<std::byte, 16> key_{};
};

}  // namespace sluice
