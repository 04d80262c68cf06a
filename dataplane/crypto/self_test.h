// The examination that an engine passes before it is used, so that a library that computes something else on this CPU
// is found here and not in a peer's log. About a millisecond; control thread.
#pragma once

#include "dataplane/crypto/aead.h"

namespace sluice {

bool self_test(AeadEngine& engine) noexcept;

}  // namespace sluice
