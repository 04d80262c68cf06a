#include "dataplane/crypto/lanes/isa_avx512ifma.h"
#include "dataplane/crypto/lanes/kernel_text.h"
#include "dataplane/crypto/lanes/radix44.h"

namespace sluice::lanes {

const Kernel* kernel_avx512ifma() noexcept {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512ifma") &&
                 __builtin_cpu_supports("bmi2")
             ? &kKernel<Radix44<Avx512Ifma>>
             : nullptr;
}

}  // namespace sluice::lanes
