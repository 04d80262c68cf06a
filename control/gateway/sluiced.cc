#include "control/gateway/main.h"

int main(int argc, char** argv) {
  const sluice::SystemClock clock;
  return sluice::sluiced_main(argc, argv, clock);
}
