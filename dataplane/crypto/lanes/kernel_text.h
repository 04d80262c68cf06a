// The kernel that chacha20.h and poly1305.h make with one instruction set. Included by the lanes_*.cc only.
#pragma once

#include "dataplane/crypto/lanes/chacha20.h"
#include "dataplane/crypto/lanes/erase_stack.h"
#include "dataplane/crypto/lanes/kernel.h"
#include "dataplane/crypto/lanes/poly1305.h"

namespace sluice::lanes {

template <class Isa>
void apply_keystream(Burst& burst, Blocks blocks) noexcept {
  ChaCha20<Isa>(burst).apply(blocks);
}

template <class Field, class FieldOfParts, bool kAddUp>
void authenticate(Burst& burst) noexcept {
  Poly1305<Field, FieldOfParts, kAddUp>::authenticate(burst);
}

// The second field is the one for packets in several lanes (poly1305_parts.h).
template <class Field, class FieldOfParts = Field>
inline constexpr Kernel kKernel = {apply_keystream<typename Field::Isa>, authenticate<Field, FieldOfParts, false>,
                                   authenticate<Field, FieldOfParts, true>, erase_stack<typename Field::Isa>};

}  // namespace sluice::lanes
