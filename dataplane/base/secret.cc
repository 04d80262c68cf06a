#include "dataplane/base/secret.h"

#include <sodium.h>

namespace sluice {

bool equal_constant_time(std::span<const std::byte> a, std::span<const std::byte> b) noexcept {
  return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

bool is_zero_constant_time(std::span<const std::byte> bytes) noexcept {
  return sodium_is_zero(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()) == 1;
}

}  // namespace sluice
