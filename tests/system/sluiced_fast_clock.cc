// sluiced with a fast clock: the same program otherwise. SLUICE_CLOCK_SCALE says how fast (default 30: a rekey every 4
// s).
#include <cstdlib>

#include "control/gateway/main.h"
#include "tests/support/scaled_clock.h"

int main(int argc, char** argv) {
  const char* factor = std::getenv("SLUICE_CLOCK_SCALE");
  const sluice::test::ScaledClock clock(factor ? std::atoi(factor) : 30);
  return sluice::sluiced_main(argc, argv, clock);
}
