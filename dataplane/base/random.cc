#include "dataplane/base/random.h"

#include <sodium.h>

namespace sluice {

void SystemRng::fill(std::span<std::byte> bytes) noexcept { randombytes_buf(bytes.data(), bytes.size()); }

}  // namespace sluice
