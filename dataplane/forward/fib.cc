#include "dataplane/forward/fib.h"

namespace sluice {

constinit const NextHop Fib::kUnreachable{};
const LocalAddresses Fib::kAskAlways;

}  // namespace sluice
