#include "dataplane/forward/fib.h"

namespace sluice {

constinit const NextHop Fib::kUnreachable{};

}  // namespace sluice
