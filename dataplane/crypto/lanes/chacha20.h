// ChaCha20 (RFC 8439) with every lane of a vector a block of its own: any block of any packet under any key. A group is
// as many blocks as a vector has 32-bit lanes; its state is 16 vectors, vector i holding word i of every block. Two
// groups run interleaved where the instruction set has the registers for it: one alone waits for its own results.
//
// Isa names the vectors and what is done with them: isa_avx2.h, isa_avx512.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dataplane/crypto/lanes/erase.h"
#include "dataplane/crypto/lanes/kernel.h"

namespace sluice::lanes {

template <class Isa>
class ChaCha20 {
 public:
  ChaCha20() noexcept {}
  ~ChaCha20() {
    for (Group& group : groups_) erase(group.initial);
  }
  ChaCha20(const ChaCha20&) = delete;
  ChaCha20& operator=(const ChaCha20&) = delete;

  // Adds the packet's blocks from `counter` on to `text`: whole groups of consecutive blocks while there are enough,
  // the others as single lanes that share groups with other packets.
  void add(const Packet& packet, uint32_t counter, std::byte* text, size_t size) noexcept {
    for (; size >= kLanes * kBlock; size -= kLanes * kBlock, text += kLanes * kBlock, counter += kLanes)
      add_group(packet, counter, text);
    for (; size > kBlock; size -= kBlock, text += kBlock) add_lane(packet, counter++, text, kBlock);
    if (size > 0) add_lane(packet, counter, text, size);
  }

  void finish() noexcept {
    if (lanes_.used > 0) close_lanes();
    if (ready_ > 0) run_each();
  }

 private:
  using Words = typename Isa::Words;
  static constexpr unsigned kLanes = Isa::kWords;
  static constexpr size_t kBlock = 64;
  static constexpr uint32_t kConstants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};  // "expand 32-byte k"

  struct Group {
    Words initial[16];
    std::byte* text[kLanes];
    uint32_t size[kLanes];
    unsigned used;  // lanes
  };

  // Single blocks that wait until they are enough for a group.
  struct Lanes {
    const std::byte* key[kLanes];
    alignas(64) uint32_t counter[kLanes];
    alignas(64) uint32_t nonce_low[kLanes];
    alignas(64) uint32_t nonce_high[kLanes];
    std::byte* text[kLanes];
    uint32_t size[kLanes];
    unsigned used = 0;
  };

  void add_lane(const Packet& packet, uint32_t counter, std::byte* text, size_t size) noexcept {
    const unsigned i = lanes_.used++;
    lanes_.key[i] = packet.key;
    lanes_.counter[i] = counter;
    lanes_.nonce_low[i] = static_cast<uint32_t>(packet.nonce);
    lanes_.nonce_high[i] = static_cast<uint32_t>(packet.nonce >> 32);
    lanes_.text[i] = text;
    lanes_.size[i] = static_cast<uint32_t>(size);
    if (lanes_.used == kLanes) close_lanes();
  }

  void close_lanes() noexcept {
    Group& group = groups_[ready_];
    group.used = lanes_.used;
    for (unsigned i = 0; i < kLanes; ++i) {
      if (i >= lanes_.used) lanes_.key[i] = lanes_.key[0];  // computed in vain
      group.text[i] = lanes_.text[i];
      group.size[i] = lanes_.size[i];
    }
    for (unsigned i = 0; i < 4; ++i) group.initial[i] = Isa::broadcast(kConstants[i]);
    Isa::load_keys(lanes_.key, group.initial + 4);
    group.initial[12] = Isa::load(lanes_.counter);
    group.initial[13] = Isa::broadcast(0);
    group.initial[14] = Isa::load(lanes_.nonce_low);
    group.initial[15] = Isa::load(lanes_.nonce_high);
    lanes_.used = 0;
    group_is_ready();
  }

  void add_group(const Packet& packet, uint32_t counter, std::byte* text) noexcept {
    Group& group = groups_[ready_];
    group.used = kLanes;
    for (unsigned i = 0; i < kLanes; ++i) {
      group.text[i] = text + i * kBlock;
      group.size[i] = kBlock;
    }
    for (unsigned i = 0; i < 4; ++i) group.initial[i] = Isa::broadcast(kConstants[i]);
    for (unsigned i = 0; i < 8; ++i) group.initial[4 + i] = Isa::broadcast_from(packet.key + 4 * i);
    group.initial[12] = Isa::add(Isa::broadcast(counter), Isa::ascending());
    group.initial[13] = Isa::broadcast(0);
    group.initial[14] = Isa::broadcast(static_cast<uint32_t>(packet.nonce));
    group.initial[15] = Isa::broadcast(static_cast<uint32_t>(packet.nonce >> 32));
    group_is_ready();
  }

  void group_is_ready() noexcept {
    if (++ready_ < Isa::kGroupsInFlight) return;
    run<Isa::kGroupsInFlight>(groups_);
    ready_ = 0;
  }

  void run_each() noexcept {
    for (unsigned i = 0; i < ready_; ++i) run<1>(groups_ + i);
    ready_ = 0;
  }

  template <unsigned kCount>
  static void run(const Group* groups) noexcept {
    Words state[kCount][16];
    for (unsigned g = 0; g < kCount; ++g)
      for (unsigned i = 0; i < 16; ++i) state[g][i] = groups[g].initial[i];
    for (unsigned round = 0; round < 20; round += 2) {
      for (unsigned g = 0; g < kCount; ++g) quarter_rounds<0>(state[g]);
      for (unsigned g = 0; g < kCount; ++g) quarter_rounds<1>(state[g]);
    }
    for (unsigned g = 0; g < kCount; ++g) {
      for (unsigned i = 0; i < 16; ++i) state[g][i] = Isa::add(state[g][i], groups[g].initial[i]);
      Isa::xor_blocks(state[g], groups[g].text, groups[g].size, groups[g].used);
    }
  }

  // Four quarter rounds, step by step so that four independent instructions follow each other: of the columns
  // (kTurn 0) or the diagonals (kTurn 1).
  template <unsigned kTurn>
  [[gnu::always_inline]] static inline void quarter_rounds(Words* v) noexcept {
    Words *const a = v, *const b = v + 4, *const c = v + 8, *const d = v + 12;
    for (unsigned i = 0; i < 4; ++i) a[i] = Isa::add(a[i], b[(i + kTurn) % 4]);
    for (unsigned i = 0; i < 4; ++i) xor_rotate<16>(d[(i + 3 * kTurn) % 4], a[i]);
    for (unsigned i = 0; i < 4; ++i) c[i] = Isa::add(c[i], d[(i + kTurn) % 4]);
    for (unsigned i = 0; i < 4; ++i) xor_rotate<12>(b[(i + 3 * kTurn) % 4], c[i]);
    for (unsigned i = 0; i < 4; ++i) a[i] = Isa::add(a[i], b[(i + kTurn) % 4]);
    for (unsigned i = 0; i < 4; ++i) xor_rotate<8>(d[(i + 3 * kTurn) % 4], a[i]);
    for (unsigned i = 0; i < 4; ++i) c[i] = Isa::add(c[i], d[(i + kTurn) % 4]);
    for (unsigned i = 0; i < 4; ++i) xor_rotate<7>(b[(i + 3 * kTurn) % 4], c[i]);
  }

  template <unsigned kBits>
  [[gnu::always_inline]] static inline void xor_rotate(Words& to, Words with) noexcept {
    to = Isa::template rotate_left<kBits>(Isa::bit_xor(to, with));
  }

  Group groups_[Isa::kGroupsInFlight];
  unsigned ready_ = 0;
  Lanes lanes_;
};

}  // namespace sluice::lanes
