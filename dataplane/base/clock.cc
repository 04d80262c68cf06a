#include "dataplane/base/clock.h"

#include <time.h>

namespace sluice {

MonoTime SystemClock::now() const noexcept {
  timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  return {t.tv_sec * 1'000'000'000LL + t.tv_nsec};
}

WallTime SystemClock::wall() const noexcept {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return {t.tv_sec, static_cast<uint32_t>(t.tv_nsec)};
}

}  // namespace sluice
