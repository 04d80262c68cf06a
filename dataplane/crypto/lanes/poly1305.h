// Poly1305 (RFC 8439) over the packets of a burst, as many at a time as a vector has 64-bit lanes: a packet in every
// lane, which multiplies by its own r, so that no packet needs powers of r. Where there are too few packets for that,
// or one is much longer than the others, a packet takes several lanes: see poly1305_parts.h.
//
// Field is the arithmetic modulo 2^130 - 5, radix32.h or radix44.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dataplane/crypto/lanes/kernel.h"
#include "dataplane/crypto/lanes/poly1305_parts.h"
#include "dataplane/crypto/lanes/poly1305_steps.h"

namespace sluice::lanes {

template <class Field, class FieldOfParts, bool kAddUp>
class Poly1305 {
 public:
  [[gnu::noinline]] static void authenticate(Burst& burst) noexcept {
    for (size_t done = 0; done < burst.count;) {
      if (are_even(burst, done, kTogether * kLanes)) {
        authenticate_even<kTogether>(burst, done);
        done += kTogether * kLanes;
      } else if (kTogether > 1 && are_even(burst, done, kLanes)) {
        authenticate_even<1>(burst, done);
        done += kLanes;
      } else if (const unsigned parts_log2 = Parts::choose_log2(burst, done); parts_log2 > 0) {
        done += Parts::authenticate(burst, done, parts_log2);
      } else {
        done += authenticate_uneven(burst, done);
      }
    }
    erase_one_time_keys(burst);
  }

 private:
  using Isa = typename Field::Isa;
  using Longs = typename Isa::Longs;
  using Steps = Poly1305Steps<Isa>;
  using Parts = Poly1305Parts<FieldOfParts, kAddUp>;
  using Sums = LaneSums<Isa, typename Field::Sum, kAddUp>;
  using Number = typename Field::Number;
  using Factor = typename Field::Factor;
  static constexpr unsigned kLanes = Isa::kLongs;
  static constexpr size_t kBlock = Steps::kBlock;
  static constexpr unsigned kTogether = Isa::kSumsInFlight;

  // Whether there are so many packets, of as many blocks each and none empty.
  static bool are_even(const Burst& burst, size_t first, size_t packets) noexcept {
    if (burst.count - first < packets || burst.size[first] == 0) return false;
    const size_t blocks = Steps::text_blocks(burst.size[first]);
    bool even = true;
    for (size_t i = first; i < first + packets; ++i) even &= Steps::text_blocks(burst.size[i]) == blocks;
    return even;
  }

  template <unsigned kGroups>
  [[gnu::noinline]] static void authenticate_even(Burst& burst, size_t first) noexcept {
    const size_t blocks = Steps::text_blocks(burst.size[first]);
    uint64_t ends = 0;
    for (size_t i = first; i < first + kGroups * kLanes; ++i) ends |= burst.size[i];
    const size_t whole = blocks - (ends % kBlock != 0);  // in all of the packets
    Factor r[kGroups];
    Number n[kGroups];
    Sums sums[kGroups];
    for (unsigned g = 0; g < kGroups; ++g) {
      sums[g].clear();
      r[g] = Field::factor(Steps::read_r(burst, first + g * kLanes).word);
      n[g] = whole > 0 ? first_block(sums[g], burst.text + first + g * kLanes) : Field::zero();
    }
    for (size_t block = 1; block < whole; ++block)
      for (unsigned g = 0; g < kGroups; ++g)
        add_block(n[g], sums[g], r[g], burst.text + first + g * kLanes, static_cast<ptrdiff_t>(block * kBlock));
    for (unsigned g = 0; g < kGroups; ++g) {
      const size_t at = first + g * kLanes;
      if (whole < blocks) add_last_blocks(n[g], sums[g], r[g], burst.text + at, burst.size + at);
    }
    for (unsigned g = 0; g < kGroups; ++g) {
      const size_t at = first + g * kLanes;
      end(burst, at, n[g], r[g], burst.size + at);
      sums[g].store(burst.sums + at);
    }
    asm volatile("" : : "r"(&burst) : "memory");  // g++ 12 may think that nothing was written, and leave out the call
  }

  // Packets of different lengths, or too few for all lanes: takes packets from number `first` on and returns how many.
  // Lanes end together; until a lane's packet begins, it follows the longest packet in vain.
  [[gnu::noinline]] static size_t authenticate_uneven(Burst& burst, size_t first) noexcept {
    UnevenTexts texts(burst, first);
    const Factor r = Field::factor(Steps::read_r(burst, first).word);
    Number n = Field::zero();
    Sums sums;
    sums.clear();
    for (size_t step = 0; step < texts.steps;) {
      const size_t next = texts.begin(step);
      keep_begun(n, sums, texts.begin_at, step);
      for (; step < Steps::min(next, texts.whole); ++step)
        add_block(n, sums, r, texts.from, static_cast<ptrdiff_t>(step * kBlock));
      if (step < next) {
        add_last_blocks(n, sums, r, texts.text, texts.size);
        ++step;
      }
    }
    keep_begun(n, sums, texts.begin_at, texts.steps);
    end(burst, first, n, r, texts.size);
    sums.store(burst.sums + first);
    return texts.packets;
  }

  // What the lanes read in which step.
  struct UnevenTexts {
    UnevenTexts(const Burst& burst, size_t first) noexcept : packets(Steps::min(kLanes, burst.count - first)) {
      uint64_t ends = 0;
      size_t longest = 0;
      for (unsigned lane = 0; lane < kLanes; ++lane) {
        const size_t packet = first + Steps::min(lane, packets - 1);  // lanes without a packet repeat the last one
        text[lane] = burst.text[packet];
        size[lane] = burst.size[packet];
        ends |= size[lane];
        if (size[lane] > size[longest]) longest = lane;
      }
      steps = Steps::text_blocks(size[longest]);
      whole = steps - (ends % kBlock != 0);
      for (unsigned lane = 0; lane < kLanes; ++lane) {
        begin_at[lane] = steps - Steps::text_blocks(size[lane]);
        from[lane] = text[longest];
      }
    }

    // Lets packets begin in this step. Returns the step when the next ones do.
    size_t begin(size_t step) noexcept {
      size_t next = steps;
      for (unsigned lane = 0; lane < kLanes; ++lane) {
        if (begin_at[lane] == step) from[lane] = text[lane] - step * kBlock;
        if (begin_at[lane] > step) next = Steps::min(next, begin_at[lane]);
      }
      return next;
    }

    const size_t packets;
    size_t steps, whole;  // all, and those in which no text ends within a block
    const std::byte* text[kLanes];
    const std::byte* from[kLanes];  // plus the step's blocks: where the lane reads
    alignas(64) uint64_t begin_at[kLanes];
    alignas(64) uint64_t size[kLanes];
  };

  // Clears the lanes that have not begun before the step.
  [[gnu::always_inline]] static inline void keep_begun(Number& n, Sums& sums, const uint64_t* begin_at,
                                                       size_t step) noexcept {
    const Longs begun =
        Isa::negative(Isa::template shift_right<63>(Isa::add64(Isa::load(begin_at), Isa::broadcast64(0 - step))));
    for (Longs& limb : n.limb) limb = Isa::bit_and(limb, begun);
    sums.keep(begun);
  }

  [[gnu::always_inline]] static inline Number first_block(Sums& sums, const std::byte* const* from) noexcept {
    Longs low, high;
    Isa::load_blocks(from, 0, low, high);
    sums.add(low, high);
    return Field::block(low, high);
  }

  [[gnu::always_inline]] static inline void add_block(Number& n, Sums& sums, const Factor& r,
                                                      const std::byte* const* from, ptrdiff_t offset) noexcept {
    Longs low, high;
    Isa::load_blocks(from, offset, low, high);
    sums.add(low, high);
    n = Field::multiply_add(n, r, low, high);
  }

  // The texts' last blocks, padded where they are not whole.
  [[gnu::always_inline]] static inline void add_last_blocks(Number& n, Sums& sums, const Factor& r,
                                                            const std::byte* const* text,
                                                            const uint64_t* size) noexcept {
    std::byte blocks[kLanes][kBlock];
    const std::byte* at[kLanes];
    for (unsigned i = 0; i < kLanes; ++i) {
      const size_t before = size[i] == 0 ? 0 : (size[i] - 1) / kBlock * kBlock;
      Isa::copy_padded(blocks[i], text[i] + before, size[i] - before);
      at[i] = blocks[i];
    }
    add_block(n, sums, r, at, 0);
  }

  [[gnu::always_inline]] static inline void end(Burst& burst, size_t first, Number& n, const Factor& r,
                                                const uint64_t* size) noexcept {
    n = Field::multiply(Field::multiply_add(n, r, Isa::broadcast64(0), Isa::load(size)), r);
    Longs low, high;
    Field::reduce(n, low, high);
    Steps::write_tags(burst, first, low, high);
  }

  static void erase_one_time_keys(Burst& burst) noexcept {
    for (auto& words : burst.one_time_keys)
      for (size_t i = 0; i < burst.count; i += Isa::kWords) Isa::store(words + i, Isa::broadcast(0));
    asm volatile("" : : "r"(&burst) : "memory");  // the compiler may not think it knows better
  }
};

}  // namespace sluice::lanes
