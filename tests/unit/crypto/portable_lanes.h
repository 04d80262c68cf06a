// The kernels of the engine "lanes" over arrays instead of vectors, with the products of 26-bit limbs and those of
// 44-bit ones: so the text of the forms that this CPU cannot run (IFMA) is examined all the same.
#pragma once

#include "dataplane/crypto/lanes/kernel.h"

namespace sluice::test {

extern const lanes::Kernel kPortableRadix26, kPortableRadix44;

}  // namespace sluice::test
