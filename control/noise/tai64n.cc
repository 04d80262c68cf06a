#include "control/noise/tai64n.h"

#include <cstring>

#include "dataplane/base/wire_integer.h"
#include "dataplane/wire/limits.h"

namespace sluice {
namespace {

constexpr uint64_t kTaiEpoch = 0x4000'0000'0000'000a;  // 1970-01-01 00:00:00 UTC
constexpr uint32_t kWhitening = (uint32_t{1} << 24) - 1;
static_assert(Nanoseconds(kWhitening) < kInitiationInterval && Nanoseconds(2 * kWhitening) > kInitiationInterval);

}  // namespace

Tai64n Tai64n::whitened(WallTime time) noexcept {
  const be64 seconds(kTaiEpoch + static_cast<uint64_t>(time.seconds));
  const be32 nanoseconds(time.nanoseconds & ~kWhitening);
  Tai64n stamp;
  std::memcpy(stamp.bytes.data(), &seconds, sizeof seconds);
  std::memcpy(stamp.bytes.data() + sizeof seconds, &nanoseconds, sizeof nanoseconds);
  return stamp;
}

}  // namespace sluice
