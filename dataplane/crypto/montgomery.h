// From one form of Curve25519's points to another. libsodium multiplies the base point twice as fast in the Edwards
// form (by tables, in constant time, as for signatures) as in the Montgomery form of X25519 (by the ladder). For public
// keys only: times depend on the point.
#pragma once

#include <array>
#include <cstddef>

#include "dataplane/base/keys.h"

namespace sluice {

using EdwardsPoint = std::array<std::byte, 32>;  // as Ed25519 encodes it: y, and the sign of x in the highest bit

// The X25519 key of that point: u = (1 + y) / (1 - y) modulo 2^255 - 19 (RFC 7748, section 4.1). Not the neutral
// element, for which there is none.
PublicKey montgomery_form(EdwardsPoint point) noexcept;

}  // namespace sluice
