// ChaCha20 (RFC 8439) with every lane of a vector a block of its own: any block of any packet under any key. A group is
// as many blocks as a vector has 32-bit lanes; its state is 16 vectors, vector i holding word i of every block. Groups
// are filled in three ways:
//   column  the same block of as many packets as there are lanes, whose keys are loaded once for all their columns
//   run     consecutive blocks of one packet
//   lanes   single blocks of any packets: whatever is left
//
// Isa names the vectors and what is done with them: isa_avx2.h, isa_avx512.h.
//
// The state lives in registers: loops over its words are marked to be unrolled, because g++ unrolls others only after
// it has decided which arrays stay in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "dataplane/crypto/lanes/kernel.h"
#include "dataplane/crypto/lanes/rounds.h"

namespace sluice::lanes {

template <class Isa>
class ChaCha20 {
 public:
  explicit ChaCha20(Burst& burst) noexcept : burst_(burst) {}  // on the stack: erase_stack() clears it
  ChaCha20(const ChaCha20&) = delete;
  ChaCha20& operator=(const ChaCha20&) = delete;

  void apply(Blocks blocks) noexcept {
    size_t first = 0;
    for (; first + kEnough <= burst_.count; first += kLanes) add_columns(first, blocks);
    const size_t rest = first;
    for (; first < burst_.count; ++first) {
      if (blocks != Blocks::kText) add_first_lane(first, first_blocks_[first - rest]);
      if (blocks != Blocks::kFirst) add_text(first, 1);
    }
    finish();
    if (blocks != Blocks::kText) keep_one_time_keys(rest);
  }

 private:
  using Words = typename Isa::Words;
  static constexpr unsigned kLanes = Isa::kWords;
  static constexpr unsigned kEnough = kLanes * 3 / 4;  // lanes in use for which a column is worth while
  static constexpr size_t kBlock = 64;
  static constexpr unsigned kAskingSteps = 8;  // double rounds in which texts are asked for
  // Of the lines that somebody reads afterwards: about as many as come from memory during a double round.
  static constexpr size_t kAheadAtOnce = Isa::kWritesBehind ? 3 : 2;
  static constexpr uint32_t kConstants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};  // "expand 32-byte k"

  // Keys and nonces of packets, or of single lanes, whose texts are then here as well.
  struct Source {
    Words initial[16];  // state but for the counter
    std::byte* text[kLanes];
    uint64_t size[kLanes];
  };

  // Blocks that are computed together, from source_ and their counters.
  struct Group {
    Words counter = {};
    std::byte* const* text = nullptr;
    const uint64_t* size = nullptr;     // of the texts
    size_t offset = 0;                  // of the blocks in the texts
    bool whole = false;                 // none of the texts ends before its block does
    uint32_t* one_time_keys = nullptr;  // if not: what to write instead of texts
  };

  struct alignas(64) FirstBlock {
    std::byte bytes[kBlock];
  };

  // Single blocks that wait until they are enough for a group.
  struct Lanes {
    const std::byte* key[kLanes];
    alignas(64) uint32_t counter[kLanes];
    alignas(64) uint64_t nonce[kLanes];
    std::byte* text[kLanes];
    uint64_t size[kLanes];
    unsigned used = 0;
  };

  static constexpr size_t min(size_t a, size_t b) noexcept { return a < b ? a : b; }
  static constexpr uint32_t blocks_of(size_t size) noexcept {
    return static_cast<uint32_t>((size + kBlock - 1) / kBlock);
  }

  // As many columns as have kEnough lanes in use; the packets' further blocks go on their own.
  void add_columns(size_t first, Blocks blocks) noexcept {
    const auto used = static_cast<unsigned>(min(kLanes, burst_.count - first));
    for (unsigned i = used; i < kLanes; ++i) burst_.key[first + i] = burst_.key[first];  // computed in vain
    for (unsigned i = used; i < kLanes; ++i) burst_.text[first + i] = burst_.text[first];
    for (unsigned i = used; i < kLanes; ++i) burst_.size[first + i] = 0;
    load_keys(burst_.key + first, burst_.nonce + first);
    if (blocks != Blocks::kText) add_first_column(first);
    if (blocks != Blocks::kFirst) add_text_columns(first);
  }

  void add_first_column(size_t first) noexcept {
    run({.counter = Isa::broadcast(0), .one_time_keys = burst_.one_time_keys[0] + first});
  }

  void add_text_columns(size_t first) noexcept {
    const uint64_t* const size = burst_.size + first;
    uint64_t shortest = UINT64_MAX, longest = 0;
    for (unsigned i = 0; i < kLanes; ++i) {
      shortest = shortest < size[i] ? shortest : size[i];
      longest = longest > size[i] ? longest : size[i];
    }
    const uint32_t end = 1 + blocks_of(size[kEnough - 1]);
    for (uint32_t counter = 1; counter < end; ++counter)
      run({.counter = Isa::broadcast(counter),
           .text = burst_.text + first,
           .size = size,
           .offset = (counter - 1) * kBlock,
           .whole = shortest >= counter * kBlock});
    if (blocks_of(longest) >= end)
      for (unsigned i = 0; i < kLanes; ++i) add_text(first + i, end);
  }

  // The packet's text from a block on: runs while there are enough blocks, then single lanes.
  void add_text(size_t packet, uint32_t counter) noexcept {
    size_t start = (counter - 1) * kBlock;
    const size_t size = burst_.size[packet];
    for (; start + (kEnough - 1) * kBlock < size; start += kLanes * kBlock, counter += kLanes)
      add_run(packet, counter, start);
    for (; start < size; start += kBlock, ++counter)
      add_lane(packet, counter, burst_.text[packet] + start, min(size - start, kBlock));
  }

  void add_run(size_t packet, uint32_t counter, size_t start) noexcept {
    set_constants();
    for (unsigned i = 0; i < 8; ++i) source_.initial[4 + i] = Isa::broadcast_from(burst_.key[packet] + 4 * i);
    source_.initial[14] = Isa::broadcast(static_cast<uint32_t>(burst_.nonce[packet]));
    source_.initial[15] = Isa::broadcast(static_cast<uint32_t>(burst_.nonce[packet] >> 32));
    const size_t size = burst_.size[packet];
    for (unsigned i = 0; i < kLanes; ++i) {
      const size_t at = start + i * kBlock;
      source_.text[i] = burst_.text[packet] + at;
      source_.size[i] = size > at ? size - at : 0;
    }
    run({.counter = Isa::add(Isa::broadcast(counter), Isa::ascending()),
         .text = source_.text,
         .size = source_.size,
         .whole = size >= start + kLanes * kBlock});
  }

  void add_first_lane(size_t packet, FirstBlock& block) noexcept {
    block = {};
    add_lane(packet, 0, block.bytes, kBlock);
  }

  void add_lane(size_t packet, uint32_t counter, std::byte* text, size_t size) noexcept {
    const unsigned i = lanes_.used++;
    lanes_.key[i] = burst_.key[packet];
    lanes_.counter[i] = counter;
    lanes_.nonce[i] = burst_.nonce[packet];
    lanes_.text[i] = text;
    lanes_.size[i] = size;
    if (lanes_.used == kLanes) close_lanes();
  }

  void close_lanes() noexcept {
    bool whole = true;
    for (unsigned i = 0; i < kLanes; ++i) {
      if (i >= lanes_.used) {  // computed in vain
        lanes_.key[i] = lanes_.key[0];
        lanes_.text[i] = lanes_.text[0];
        lanes_.size[i] = 0;
      }
      source_.text[i] = lanes_.text[i];
      source_.size[i] = lanes_.size[i];
      whole &= lanes_.size[i] == kBlock;
    }
    lanes_.used = 0;
    load_keys(lanes_.key, lanes_.nonce);
    run({.counter = Isa::load(lanes_.counter), .text = source_.text, .size = source_.size, .whole = whole});
  }

  void set_constants() noexcept {
    for (unsigned i = 0; i < 4; ++i) source_.initial[i] = Isa::broadcast(kConstants[i]);
    source_.initial[13] = Isa::broadcast(0);
  }

  void load_keys(const std::byte* const* keys, const uint64_t* nonces) noexcept {
    set_constants();
    Isa::load_keys(keys, source_.initial + 4);
    Isa::split(nonces, source_.initial[14], source_.initial[15]);
  }

  void finish() noexcept {
    if (lanes_.used > 0) close_lanes();
    if (behind_.waits) {
      Isa::transpose_blocks(behind_.state);
      for (unsigned i = 0; i < kLanes; ++i) Isa::xor_block(behind_.text[i], behind_.state + i * (16 / kLanes));
      behind_.waits = false;
    }
  }

  [[gnu::noinline]] void run(const Group& group) noexcept {
    Words state[16];
#pragma GCC unroll 16
    for (unsigned i = 0; i < 16; ++i) state[i] = i == 12 ? group.counter : source_.initial[i];
    if constexpr (Isa::kWritesBehind) {
      for (unsigned step = 0; step < kAskingSteps; ++step) ask_for_texts(group, step);
      for (unsigned rounds = rounds_and_writes(state); rounds < 20; rounds += 2) {
        if (burst_.ahead_count != 0) [[unlikely]]
          ask_ahead();
        double_round(state);
      }
    } else {
      for (unsigned step = 0; step < 10; ++step) {
        if (step < kAskingSteps) ask_for_texts(group, step);
        if (burst_.ahead_count != 0) [[unlikely]]
          ask_ahead();
        double_round(state);
      }
    }
    asm volatile("" : : : "memory");  // no copies of the initial state: it is an operand in memory
    use(group, state);
  }

  // The texts' lines are read after the rounds. Until then they may come from memory that a NIC or another core has
  // written: asked for a few at a time, since a core has only so many misses under way before it waits for them.
  [[gnu::always_inline]] static inline void ask_for_texts(const Group& group, unsigned step) noexcept {
    constexpr unsigned kAtOnce = kLanes / kAskingSteps;
    if (group.text == nullptr) return;
    // As numbers: of a text that has ended, or is empty, this is no place in it.
    for (unsigned i = step * kAtOnce; i < (step + 1) * kAtOnce; ++i)
      __builtin_prefetch(
          reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(group.text[i]) + group.offset + kBlock - 1), 1);
  }

  // As prefetch_far() does (base/prefetch.h), which is not for here: see kernel.h.
  void ask_ahead() noexcept {
    const size_t count = min(burst_.ahead_count, kAheadAtOnce);
    for (const void* const* line = burst_.ahead; line != burst_.ahead + count; ++line) __builtin_prefetch(*line, 0, 2);
    burst_.ahead += count;
    burst_.ahead_count -= count;
  }

  // Writes the group that waits for it between rounds of the next one: transposing occupies one port only, rounds have
  // enough for the others. Returns how many rounds that were.
  [[gnu::always_inline]] inline unsigned rounds_and_writes(Words (&state)[16]) noexcept {
    if (!behind_.waits) return 0;
    behind_.waits = false;
    for (unsigned quarter = 0; quarter < 4; ++quarter) {
      double_round(state);
      if (burst_.ahead_count != 0) [[unlikely]]
        ask_ahead();
      Isa::transpose_quarters(behind_.state + 4 * quarter);
    }
    for (unsigned quarter = 0; quarter < 4; ++quarter) {
      double_round(state);
      Isa::xor_quarter(behind_.state, quarter, behind_.text);
    }
    return 16;
  }

  [[gnu::always_inline]] inline void use(const Group& group, Words* state) noexcept {
    constexpr unsigned kVectors = 16 / kLanes;  // per block
#pragma GCC unroll 16
    for (unsigned i = 0; i < 16; ++i) state[i] = Isa::add(state[i], i == 12 ? group.counter : source_.initial[i]);
    if (group.one_time_keys != nullptr) {
#pragma GCC unroll 8
      for (unsigned i = 0; i < 8; ++i) Isa::store(group.one_time_keys + i * Burst::kStride, state[i]);
      return;
    }
    if (Isa::kWritesBehind && group.whole) {
#pragma GCC unroll 16
      for (unsigned i = 0; i < 16; ++i) behind_.state[i] = state[i];
      for (unsigned i = 0; i < kLanes; ++i) behind_.text[i] = group.text[i] + group.offset;
      behind_.waits = true;
      return;
    }
    Isa::transpose_blocks(state);
    if (group.whole) {
#pragma GCC unroll 16
      for (unsigned i = 0; i < kLanes; ++i) Isa::xor_block(group.text[i] + group.offset, state + i * kVectors);
      return;
    }
#pragma GCC unroll 16
    for (unsigned i = 0; i < 16; ++i) rows_[i] = state[i];
    for (unsigned i = 0; i < kLanes; ++i)
      if (group.size[i] > group.offset)
        Isa::xor_partly(group.text[i] + group.offset, rows_ + i * kVectors,
                        static_cast<uint32_t>(min(group.size[i] - group.offset, kBlock)));
  }

  [[gnu::always_inline]] static inline void double_round(Words (&state)[16]) noexcept {
    if constexpr (Isa::kRounds == Rounds::kInPairs) {
      double_round_in_pairs(state);
    } else {
      quarter_rounds<0>(state);
      quarter_rounds<1>(state);
    }
  }

  // Where a state takes all registers there are: two quarter rounds at a time do without the other two words of the
  // third row, which wait in memory, and nothing else has to.
  [[gnu::always_inline]] static inline void double_round_in_pairs(Words* v) noexcept {
    Words *const a = v, *const b = v + 4, *const c = v + 8, *const d = v + 12;
    Isa::two_quarter_rounds(a[0], b[0], c[0], d[0], a[1], b[1], c[1], d[1]);
    put_away(c[0], c[1]);
    Isa::two_quarter_rounds(a[2], b[2], c[2], d[2], a[3], b[3], c[3], d[3]);
    Isa::two_quarter_rounds(a[0], b[1], c[2], d[3], a[1], b[2], c[3], d[0]);
    put_away(c[2], c[3]);
    Isa::two_quarter_rounds(a[2], b[3], c[0], d[1], a[3], b[0], c[1], d[2]);
  }
  static void put_away(Words& first, Words& second) noexcept { asm volatile("" : "+m"(first), "+m"(second)); }

  // Four quarter rounds, so that independent instructions follow each other: of the columns (kTurn 0) or the diagonals
  // (kTurn 1).
  template <unsigned kTurn>
  [[gnu::always_inline]] static inline void quarter_rounds(Words* v) noexcept {
    if constexpr (Isa::kRounds == Rounds::kStaggered) {
      staggered<kTurn>(v, std::make_index_sequence<kSteps + 1>());
    } else {
      in_step<kTurn>(v, std::make_index_sequence<kSteps / 3>());
    }
  }

  template <unsigned kTurn, size_t... kThird>
  [[gnu::always_inline]] static inline void in_step(Words* v, std::index_sequence<kThird...>) noexcept {
    (add_xor_rotate<kTurn, 3 * kThird>(v), ...);
  }
  template <unsigned kTurn, size_t kStep>
  [[gnu::always_inline]] static inline void add_xor_rotate(Words* v) noexcept {
    for (unsigned i = 0; i < 4; ++i) step<kTurn, kStep>(v, i);
    for (unsigned i = 0; i < 4; ++i) {
      step<kTurn, kStep + 1>(v, i);
      step<kTurn, kStep + 2>(v, i);
    }
  }

  // Where only some of the ports rotate: they do so for one pair while the others add for the other.
  template <unsigned kTurn, size_t... kStep>
  [[gnu::always_inline]] static inline void staggered(Words* v, std::index_sequence<kStep...>) noexcept {
    (step_of_pairs<kTurn, kStep>(v), ...);
  }
  template <unsigned kTurn, size_t kStep>
  [[gnu::always_inline]] static inline void step_of_pairs(Words* v) noexcept {
    for (unsigned i = 0; i < 2; ++i) step<kTurn, kStep>(v, i);
    for (unsigned i = 2; i < 4; ++i) step<kTurn, kStep - 1>(v, i);
  }

  // One instruction of quarter round i (RFC 8439, section 2.1); none before the first and after the last.
  static constexpr size_t kSteps = 12;
  template <unsigned kTurn, size_t kStep>
  [[gnu::always_inline]] static inline void step(Words* v, unsigned i) noexcept {
    if constexpr (kStep < kSteps) {
      constexpr unsigned kThird = kStep / 3;
      constexpr int kRotations[] = {16, 12, 8, 7};
      Words &a = v[i], &b = v[4 + (i + kTurn) % 4], &c = v[8 + (i + 2 * kTurn) % 4], &d = v[12 + (i + 3 * kTurn) % 4];
      Words &sum = kThird % 2 == 0 ? a : c, &added = kThird % 2 == 0 ? b : d, &turned = kThird % 2 == 0 ? d : b;
      if constexpr (kStep % 3 == 0) sum = Isa::add(sum, added);
      if constexpr (kStep % 3 == 1) turned = Isa::bit_xor(turned, sum);
      if constexpr (kStep % 3 == 2) turned = Isa::template rotate_left<kRotations[kThird]>(turned);
    }
  }

  // Of packets whose first blocks were lanes.
  void keep_one_time_keys(size_t first) noexcept {
    for (size_t packet = first; packet < burst_.count; ++packet)
      for (unsigned i = 0; i < 8; ++i)
        __builtin_memcpy(&burst_.one_time_keys[i][packet], first_blocks_[packet - first].bytes + 4 * i, 4);
  }

  Burst& burst_;
  Source source_;
  // Computed, but not yet transposed and added to its texts.
  struct {
    Words state[16];
    std::byte* text[kLanes];
    bool waits = false;
  } behind_;
  Lanes lanes_;
  Words rows_[16];                    // keystream blocks of a group that is not whole
  FirstBlock first_blocks_[kEnough];  // zero until they are computed
};

}  // namespace sluice::lanes
