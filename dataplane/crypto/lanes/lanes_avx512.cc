#include "dataplane/crypto/lanes/isa_avx512.h"
#include "dataplane/crypto/lanes/kernel_text.h"
#include "dataplane/crypto/lanes/radix26.h"
#include "dataplane/crypto/lanes/radix32.h"

namespace sluice::lanes {

const Kernel* kernel_avx512() noexcept {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("bmi2")
             ? &kKernel<Radix32<Avx512>, Radix26<Avx512>>
             : nullptr;
}

}  // namespace sluice::lanes
