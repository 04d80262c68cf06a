#include "dataplane/crypto/lanes/isa_avx2.h"
#include "dataplane/crypto/lanes/kernel_text.h"
#include "dataplane/crypto/lanes/radix26.h"
#include "dataplane/crypto/lanes/radix32.h"

namespace sluice::lanes {

const Kernel* kernel_avx2() noexcept {
  return __builtin_cpu_supports("avx2") ? &kKernel<Radix32<Avx2>, Radix26<Avx2>> : nullptr;
}

}  // namespace sluice::lanes
