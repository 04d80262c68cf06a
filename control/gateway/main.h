// sluiced's main function over a clock: the program passes the system's, a test binary a faster one.
#pragma once

#include "dataplane/base/clock.h"

namespace sluice {

int sluiced_main(int argc, char** argv, const Clock& clock);

}  // namespace sluice
