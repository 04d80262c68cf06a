// Between the engine "lanes" (crypto/aead_lanes.cc) and its kernels, one per instruction set: plain data, because code
// compiled with the flags of an instruction set must not leave inline functions of shared headers behind, which the
// linker might then choose for everybody.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::lanes {

// Packets that are processed together; longest first (roughly is enough), so that lanes finish together. An array for
// every field: vectors are loaded from them.
struct Burst {
  static constexpr size_t kMaxPackets = 64;
  size_t count = 0;
  const std::byte* key[kMaxPackets];  // 32 bytes each
  alignas(64) std::byte* text[kMaxPackets];
  alignas(64) uint64_t size[kMaxPackets];
  alignas(64) uint64_t nonce[kMaxPackets];
  static constexpr size_t kBehind = 16;  // room for a vector after the last
  static constexpr size_t kStride = kMaxPackets + kBehind;
  // Between the two steps of a kernel: Poly1305's keys, word by word: r, then s.
  alignas(64) uint32_t one_time_keys[8][kStride];
  std::byte tags[kStride][16];         // secret until they have been sent
  alignas(64) uint64_t sums[kStride];  // of the texts' 32-bit words as they lie in memory, padded with zeros
  // Lines that somebody reads afterwards, asked for while keystreams are computed; those that have been are gone.
  const void* const* ahead = nullptr;
  size_t ahead_count = 0;
};

// Which blocks of the packets' keystreams: number 0 gives the one-time keys, the others are added to the texts.
enum class Blocks { kFirst, kText, kAll };

struct Kernel {
  void (*apply_keystream)(Burst&, Blocks) noexcept;  // reads keys and nonces; may write to unused entries of the burst
  void (*authenticate)(Burst&) noexcept;             // tags of the texts as they are; erases the one-time keys
  void (*authenticate_and_add_up)(Burst&) noexcept;  // sums as well
  // Clears what these have left on the stack; called where they were called from, once for all of a burst's steps.
  void (*erase_stack)() noexcept;
};

// nullptr: not on this CPU.
const Kernel* kernel_avx2() noexcept;
const Kernel* kernel_avx512() noexcept;
const Kernel* kernel_avx512ifma() noexcept;

}  // namespace sluice::lanes
