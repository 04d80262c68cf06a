// Poly1305 (RFC 8439) with a packet in every lane: each multiplies by its own r, so that no packet needs powers of r.
// Packets of one length are the common case and go through here, group by group; for others, and where there are fewer
// packets than lanes, see poly1305_uneven.h.
//
// What is authenticated is the text, padded with zeros to 16 bytes, and a block with the lengths of the additional data
// (none) and of the text. Field is the arithmetic, radix26.h or radix44.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dataplane/crypto/lanes/kernel.h"
#include "dataplane/crypto/lanes/poly1305_steps.h"
#include "dataplane/crypto/lanes/poly1305_uneven.h"

namespace sluice::lanes {

template <class Field>
class Poly1305 {
 public:
  static void authenticate(Burst& burst) noexcept {
    for (size_t done = 0; done < burst.count;) {
      if (are_even(burst, done, kTogether * kLanes)) {
        authenticate_even<kTogether>(burst, done);
        done += kTogether * kLanes;
      } else if (kTogether > 1 && are_even(burst, done, kLanes)) {
        authenticate_even<1>(burst, done);
        done += kLanes;
      } else {
        done += UnevenGroup<Field>::authenticate(burst, done);
      }
    }
    erase_one_time_keys(burst);
  }

 private:
  using Isa = typename Field::Isa;
  using Steps = Poly1305Steps<Field>;
  using Number = typename Field::Number;
  using Factor = typename Field::Factor;
  static constexpr unsigned kLanes = Isa::kLongs;
  static constexpr size_t kBlock = Steps::kBlock;
  static constexpr unsigned kTogether = Isa::kGroupsInFlight;

  // Whether there are so many packets, of as many blocks each and none shorter than a block.
  static bool are_even(const Burst& burst, size_t first, size_t packets) noexcept {
    if (burst.count - first < packets) return false;
    const size_t blocks = Steps::blocks_of(burst.size[first]);
    bool even = true;
    for (size_t i = first; i < first + packets; ++i)
      even &= burst.size[i] >= kBlock && Steps::blocks_of(burst.size[i]) == blocks;
    return even;
  }

  template <unsigned kGroups>
  [[gnu::noinline]] static void authenticate_even(Burst& burst, size_t first) noexcept {
    const std::byte* const* const texts[2] = {burst.text + first, burst.text + first + kLanes};
    Factor r[kGroups];
    Number n[kGroups];
    for (unsigned g = 0; g < kGroups; ++g) {
      r[g] = Field::factor(Steps::read_r(burst, first + g * kLanes, 0));
      n[g] = Steps::load(texts[g], 0);
    }
    const size_t whole = whole_blocks(burst, first, kGroups * kLanes);
    size_t block = 1;
    if constexpr (Field::kWide > 1)
      if (const size_t times = (whole - 1) / Field::kWide; whole > Steps::kLong) {
        for (unsigned g = 0; g < kGroups; ++g) Steps::advance_wide(n[g], r[g], texts[g], kBlock, kBlock, times);
        block += times * Field::kWide;
      }
    for (; block < whole; ++block)
      for (unsigned g = 0; g < kGroups; ++g)
        n[g] = Steps::multiply_add(n[g], r[g], Steps::load(texts[g], static_cast<ptrdiff_t>(block * kBlock)));
    if (whole + 1 < Steps::blocks_of(burst.size[first]))
      for (unsigned g = 0; g < kGroups; ++g) add_last_blocks(burst, first + g * kLanes, whole, n[g], r[g]);
    for (unsigned g = 0; g < kGroups; ++g) {
      n[g] = Steps::multiply_add(n[g], r[g], Steps::lengths(Isa::load(burst.size + first + g * kLanes)));
      n[g] = Field::multiply(n[g], r[g]);
    }
    for (unsigned g = 0; g < kGroups; ++g) Steps::write_tags(burst, first + g * kLanes, 0, kLanes, n[g]);
  }

  // Blocks that are whole in all of the packets.
  static size_t whole_blocks(const Burst& burst, size_t first, size_t packets) noexcept {
    uint64_t ends = 0;
    for (size_t i = first; i < first + packets; ++i) ends |= burst.size[i];
    return Steps::blocks_of(burst.size[first]) - (ends % kBlock != 0 ? 2 : 1);
  }

  static void add_last_blocks(const Burst& burst, size_t first, size_t whole, Number& n, const Factor& r) noexcept {
    std::byte blocks[kLanes][kBlock];
    const std::byte* at[kLanes];
    for (unsigned i = 0; i < kLanes; ++i) {
      Isa::copy_padded(blocks[i], burst.text[first + i] + whole * kBlock, burst.size[first + i] - whole * kBlock);
      at[i] = blocks[i];
    }
    n = Steps::multiply_add(n, r, Steps::load(at, 0));
  }

  static void erase_one_time_keys(Burst& burst) noexcept {
    for (auto& words : burst.one_time_keys)
      for (size_t i = 0; i < burst.count; i += Isa::kWords) Isa::store(words + i, Isa::broadcast(0));
    asm volatile("" : : "r"(&burst) : "memory");  // the compiler may not think it knows better
  }
};

}  // namespace sluice::lanes
