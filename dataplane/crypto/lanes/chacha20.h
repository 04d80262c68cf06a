// ChaCha20 (RFC 8439) with every lane of a vector a block of its own: any block of any packet under any key. A group is
// as many blocks as a vector has 32-bit lanes; its state is 16 vectors, vector i holding word i of every block. Groups
// are filled in three ways:
//   column  the same block of as many packets as there are lanes, whose keys are loaded once for all their columns
//   run     consecutive blocks of one packet
//   lanes   single blocks of any packets: whatever is left
//
// Isa names the vectors and what is done with them: isa_avx2.h, isa_avx512.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dataplane/crypto/lanes/kernel.h"

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
  static constexpr uint32_t kConstants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};  // "expand 32-byte k"

  // Keys and nonces of packets, or of single lanes, whose texts are then here as well.
  struct Source {
    Words initial[16];  // state but for the counter
    std::byte* text[kLanes];
    uint64_t size[kLanes];
  };

  // Blocks that are computed together.
  struct Group {
    const Words* initial = nullptr;
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
    Source& source = next_source();
    load_keys(source, burst_.key + first, burst_.nonce + first);
    if (blocks != Blocks::kText) add_first_column(source, first);
    if (blocks != Blocks::kFirst) add_text_columns(source, first);
  }

  void add_first_column(const Source& source, size_t first) noexcept {
    add({.initial = source.initial, .counter = Isa::broadcast(0), .one_time_keys = burst_.one_time_keys[0] + first});
  }

  void add_text_columns(const Source& source, size_t first) noexcept {
    const uint64_t* const size = burst_.size + first;
    uint64_t shortest = UINT64_MAX, longest = 0;
    for (unsigned i = 0; i < kLanes; ++i) {
      shortest = shortest < size[i] ? shortest : size[i];
      longest = longest > size[i] ? longest : size[i];
    }
    const uint32_t end = 1 + blocks_of(size[kEnough - 1]);
    for (uint32_t counter = 1; counter < end; ++counter)
      add({.initial = source.initial,
           .counter = Isa::broadcast(counter),
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
    Source& source = next_source();
    set_constants(source);
    for (unsigned i = 0; i < 8; ++i) source.initial[4 + i] = Isa::broadcast_from(burst_.key[packet] + 4 * i);
    source.initial[14] = Isa::broadcast(static_cast<uint32_t>(burst_.nonce[packet]));
    source.initial[15] = Isa::broadcast(static_cast<uint32_t>(burst_.nonce[packet] >> 32));
    const size_t size = burst_.size[packet];
    for (unsigned i = 0; i < kLanes; ++i) {
      const size_t at = start + i * kBlock;
      source.text[i] = burst_.text[packet] + at;
      source.size[i] = size > at ? size - at : 0;
    }
    add({.initial = source.initial,
         .counter = Isa::add(Isa::broadcast(counter), Isa::ascending()),
         .text = source.text,
         .size = source.size,
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
    Source& source = next_source();
    bool whole = true;
    for (unsigned i = 0; i < kLanes; ++i) {
      if (i >= lanes_.used) {  // computed in vain
        lanes_.key[i] = lanes_.key[0];
        lanes_.text[i] = lanes_.text[0];
        lanes_.size[i] = 0;
      }
      source.text[i] = lanes_.text[i];
      source.size[i] = lanes_.size[i];
      whole &= lanes_.size[i] == kBlock;
    }
    lanes_.used = 0;
    load_keys(source, lanes_.key, lanes_.nonce);
    add({.initial = source.initial,
         .counter = Isa::load(lanes_.counter),
         .text = source.text,
         .size = source.size,
         .whole = whole});
  }

  // One that the group that waits, if any, does not need.
  Source& next_source() noexcept {
    static_assert(Isa::kGroupsInFlight <= 2);
    const unsigned other = ready_ > 0 && waiting_[0].initial == sources_[0].initial ? 1 : 0;
    return sources_[other % Isa::kGroupsInFlight];
  }

  static void set_constants(Source& source) noexcept {
    for (unsigned i = 0; i < 4; ++i) source.initial[i] = Isa::broadcast(kConstants[i]);
    source.initial[13] = Isa::broadcast(0);
  }

  static void load_keys(Source& source, const std::byte* const* keys, const uint64_t* nonces) noexcept {
    set_constants(source);
    Isa::load_keys(keys, source.initial + 4);
    Isa::split(nonces, source.initial[14], source.initial[15]);
  }

  [[gnu::always_inline]] inline void add(const Group& group) noexcept {
    if constexpr (Isa::kGroupsInFlight == 1) {
      run<1>(&group);
    } else {
      waiting_[ready_] = group;
      if (++ready_ < Isa::kGroupsInFlight) return;
      run<Isa::kGroupsInFlight>(waiting_);
      ready_ = 0;
    }
  }

  void finish() noexcept {
    if (lanes_.used > 0) close_lanes();
    for (unsigned i = 0; i < ready_; ++i) run<1>(waiting_ + i);
    ready_ = 0;
    if (behind_.waits) {
      Isa::transpose_blocks(behind_.state);
      for (unsigned i = 0; i < kLanes; ++i) Isa::xor_block(behind_.text[i], behind_.state + i * (16 / kLanes));
      behind_.waits = false;
    }
  }

  template <unsigned kCount>
  [[gnu::noinline]] void run(const Group* groups) noexcept {
    Words state[kCount][16];
    for (unsigned g = 0; g < kCount; ++g)
      for (unsigned i = 0; i < 16; ++i) state[g][i] = i == 12 ? groups[g].counter : groups[g].initial[i];
    if constexpr (Isa::kWritesBehind) {
      for (unsigned step = 0; step < kAskingSteps; ++step) ask_for_texts<kCount>(groups, step);
      for (unsigned rounds = rounds_and_writes(state); rounds < 20; rounds += 2) double_round<kCount>(state);
    } else {
      for (unsigned step = 0; step < 10; ++step) {
        if (step < kAskingSteps) ask_for_texts<kCount>(groups, step);
        double_round<kCount>(state);
      }
    }
    asm volatile("" : : : "memory");  // no copies of the initial states: they are operands in memory
    for (unsigned g = 0; g < kCount; ++g) use(groups[g], state[g]);
  }

  // The texts' lines are read after the rounds. Until then they may come from memory that a NIC or another core has
  // written: asked for a few at a time, since a core has only so many misses under way before it waits for them.
  template <unsigned kCount>
  [[gnu::always_inline]] static inline void ask_for_texts(const Group* groups, unsigned step) noexcept {
    constexpr unsigned kAtOnce = kLanes / kAskingSteps;
    for (unsigned g = 0; g < kCount; ++g) {
      if (groups[g].text == nullptr) continue;
      // As numbers: of a text that has ended, or is empty, this is no place in it.
      for (unsigned i = step * kAtOnce; i < (step + 1) * kAtOnce; ++i)
        __builtin_prefetch(
            reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(groups[g].text[i]) + groups[g].offset + kBlock - 1), 1);
    }
  }

  // Writes the group that waits for it between rounds of the next one: transposing occupies one port only, rounds have
  // enough for the others. Returns how many rounds that were.
  [[gnu::always_inline]] inline unsigned rounds_and_writes(Words (&state)[1][16]) noexcept {
    if (!behind_.waits) return 0;
    behind_.waits = false;
    for (unsigned quarter = 0; quarter < 4; ++quarter) {
      double_round<1>(state);
      Isa::transpose_quarters(behind_.state + 4 * quarter);
    }
    for (unsigned quarter = 0; quarter < 4; ++quarter) {
      double_round<1>(state);
      Isa::xor_quarter(behind_.state, quarter, behind_.text);
    }
    return 16;
  }

  [[gnu::always_inline]] inline void use(const Group& group, Words* state) noexcept {
    constexpr unsigned kVectors = 16 / kLanes;  // per block
    for (unsigned i = 0; i < 16; ++i) state[i] = Isa::add(state[i], i == 12 ? group.counter : group.initial[i]);
    if (group.one_time_keys != nullptr) {
      for (unsigned i = 0; i < 8; ++i) Isa::store(group.one_time_keys + i * Burst::kStride, state[i]);
      return;
    }
    if (Isa::kWritesBehind && group.whole) {
      for (unsigned i = 0; i < 16; ++i) behind_.state[i] = state[i];
      for (unsigned i = 0; i < kLanes; ++i) behind_.text[i] = group.text[i] + group.offset;
      behind_.waits = true;
      return;
    }
    Isa::transpose_blocks(state);
    if (group.whole) {
      for (unsigned i = 0; i < kLanes; ++i) Isa::xor_block(group.text[i] + group.offset, state + i * kVectors);
      return;
    }
    for (unsigned i = 0; i < 16; ++i) rows_[i] = state[i];
    for (unsigned i = 0; i < kLanes; ++i)
      if (group.size[i] > group.offset)
        Isa::xor_partly(group.text[i] + group.offset, rows_ + i * kVectors,
                        static_cast<uint32_t>(min(group.size[i] - group.offset, kBlock)));
  }

  template <unsigned kCount>
  [[gnu::always_inline]] static inline void double_round(Words (&state)[kCount][16]) noexcept {
    if constexpr (Isa::kQuarterRoundsInPairs) {
      for (unsigned g = 0; g < kCount; ++g) double_round_in_pairs(state[g]);
    } else {
      for (unsigned g = 0; g < kCount; ++g) quarter_rounds<0>(state[g]);
      for (unsigned g = 0; g < kCount; ++g) quarter_rounds<1>(state[g]);
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

  // Of packets whose first blocks were lanes.
  void keep_one_time_keys(size_t first) noexcept {
    for (size_t packet = first; packet < burst_.count; ++packet)
      for (unsigned i = 0; i < 8; ++i)
        __builtin_memcpy(&burst_.one_time_keys[i][packet], first_blocks_[packet - first].bytes + 4 * i, 4);
  }

  Burst& burst_;
  Source sources_[Isa::kGroupsInFlight];
  Group waiting_[Isa::kGroupsInFlight];
  unsigned ready_ = 0;  // of the waiting
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
