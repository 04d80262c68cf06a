// What a fuzz target demands of the code: ends the program, which is how a fuzzer sees a failure.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace sluice {

inline void require(bool condition, const char* what = "what must hold does not") {
  if (condition) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

}  // namespace sluice
