// Between the engine "lanes" (crypto/aead_lanes.cc) and its kernels, one per instruction set: plain data, because code
// compiled with the flags of an instruction set must not leave inline functions of shared headers behind, which the
// linker might then choose for everybody.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::lanes {

struct Packet {
  const std::byte* key;  // 32 bytes
  std::byte* text;
  size_t size;
  uint64_t nonce;
};

struct alignas(64) KeystreamBlock {
  std::byte bytes[64];
};

// Packets that are processed together; longest first (roughly is enough), so that lanes finish together.
struct Burst {
  static constexpr size_t kMaxPackets = 64;
  size_t count = 0;
  Packet packets[kMaxPackets];
  KeystreamBlock first_blocks[kMaxPackets] =
      {};                           // Poly1305's one-time keys. Secret; zero when a kernel is called for them
  std::byte tags[kMaxPackets][16];  // secret until they have been sent
};

// Which blocks of the packets' keystreams: number 0 goes to first_blocks, the others are added to the texts.
enum class Blocks { kFirst, kText, kAll };

struct Kernel {
  void (*apply_keystream)(Burst&, Blocks) noexcept;
  void (*authenticate)(Burst&) noexcept;  // tags of the texts as they are, with the keys in first_blocks
};

// nullptr: not on this CPU.
const Kernel* kernel_avx2() noexcept;
const Kernel* kernel_avx512() noexcept;
const Kernel* kernel_avx512ifma() noexcept;

}  // namespace sluice::lanes
