// Poly1305 where there are fewer packets than lanes, or one is much longer than the others. A packet then takes 2, 4 or
// 8 lanes ("parts") that read every second, fourth or eighth block and multiply by that power of r.
//
// Lanes of different lengths end together: short ones start later and add nothing until then. Steps are therefore
// counted by how many are left.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dataplane/crypto/lanes/kernel.h"
#include "dataplane/crypto/lanes/poly1305_steps.h"

namespace sluice::lanes {

template <class Field, bool kAddUp>
class Poly1305Parts {
 public:
  // How many lanes a packet, as a power of two, keep most lanes busy for most of the steps, from packet number `first`
  // on. 0: none of these groups is worth while.
  static unsigned choose_log2(const Burst& burst, size_t first) noexcept {
    // In quarters of a step: by a power; by r alone, which radix32.h makes cheaper; of one more doubling.
    constexpr size_t kStep = 4, kStepByR = 3, kDoubling = 6 * kStep;
    const size_t longest = blocks_of(burst.size[first]);
    const size_t rest = burst.count - first;
    if (rest >= kLanes && 4 * blocks_of(burst.size[first + kLanes - 1]) >= 3 * longest) return 0;
    unsigned best = 0;
    size_t best_work = 0, best_cost = 1, overhead = 3 * kStep;
    for (unsigned log2 = 0; kLanes >> log2 > 0; ++log2, overhead += kDoubling) {
      size_t work = 0;
      for (size_t p = 0; p < min(kLanes >> log2, rest); ++p) work += blocks_of(burst.size[first + p]);
      const size_t cost = (longest >> log2) * (log2 == 0 ? kStepByR : kStep) + overhead;
      if (work * best_cost > best_work * cost) {
        best = log2;
        best_work = work;
        best_cost = cost;
      }
    }
    return best;
  }

  // Takes packets of the burst from number `first` on; returns how many.
  [[gnu::noinline]] static size_t authenticate(Burst& burst, size_t first, unsigned parts_log2) noexcept {
    Poly1305Parts group(burst, first, parts_log2);
    group.advance();
    group.end();
    return group.packets_;
  }

 private:
  using Isa = typename Field::Isa;
  using Longs = typename Isa::Longs;
  using Number = typename Field::Number;
  using Factor = typename Field::Factor;
  using Steps = Poly1305Steps<Isa>;
  using Sums = LaneSums<Isa, SumOfWords<Isa>, kAddUp>;  // of which the lengths can be taken away again
  static constexpr unsigned kLanes = Isa::kLongs;
  static constexpr size_t kBlock = Steps::kBlock;
  static constexpr std::byte kNothing[kBlock] = {};
  static constexpr size_t kRegularTo = 1;

  static constexpr size_t min(size_t a, size_t b) noexcept { return Steps::min(a, b); }
  static constexpr size_t max(size_t a, size_t b) noexcept { return Steps::max(a, b); }
  // Of the text and the lengths.
  static constexpr size_t blocks_of(size_t size) noexcept { return Steps::text_blocks(size) + 1; }

  Poly1305Parts(Burst& burst, size_t first, unsigned parts_log2) noexcept
      : burst_(burst),
        first_(first),
        parts_log2_(parts_log2),
        packets_(min(kLanes >> parts_log2, burst.count - first)) {
    size_t longest = 0, shortest = SIZE_MAX;
    uint64_t ends = 0;
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      const size_t packet = packet_of(lane), blocks = blocks_of(burst.size[packet]);
      size_[lane] = burst.size[packet];
      blocks_[lane] = blocks + part_of(lane);
      end_[lane] = burst.text[packet] + blocks_[lane] * kBlock;
      longest = max(longest, blocks);
      shortest = min(shortest, blocks);
      ends |= burst.size[packet];
    }
    if (ends % kBlock != 0) copy_last_blocks();
    left_ = (longest + parts() - 1) >> parts_log2_;
    regular_from_ = shortest >> parts_log2_;
    set_factors();
  }

  Poly1305Parts(const Poly1305Parts&) = delete;
  Poly1305Parts& operator=(const Poly1305Parts&) = delete;

  unsigned parts() const noexcept { return 1u << parts_log2_; }
  // Lanes without a packet repeat the last one.
  size_t packet_of(unsigned lane) const noexcept { return first_ + min(lane >> parts_log2_, packets_ - 1); }
  unsigned part_of(unsigned lane) const noexcept { return lane & (parts() - 1); }
  // From a lane's end_ to the block that it adds next, and from there to the following one.
  ptrdiff_t offset() const noexcept { return -static_cast<ptrdiff_t>(kBlock * (left_ << parts_log2_)); }
  ptrdiff_t stride() const noexcept { return static_cast<ptrdiff_t>(kBlock << parts_log2_); }

  void copy_last_blocks() noexcept {
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      const size_t rest = size_[lane] % kBlock;
      Isa::copy_padded(last_block_[lane], burst_.text[packet_of(lane)] + (size_[lane] - rest), rest);
    }
  }

  void set_factors() noexcept {
    const auto [word] = Steps::read_r(burst_, first_, parts_log2_);
    const Number r = Field::number(Isa::bit_or(word[0], Isa::template shift_left<32>(word[1])),
                                   Isa::bit_or(word[2], Isa::template shift_left<32>(word[3])), Isa::broadcast64(0));
    factor_ = Field::factor(r);
    set_factors_of_parts(r);
  }

  // All multiply by r^parts, until the end: then a part that is d parts before the packet's last one multiplies by
  // r^(d + 1).
  void set_factors_of_parts(Number last) noexcept {
    for (unsigned power = 1; power < parts(); power *= 2) {
      alignas(64) uint64_t distance_has_bit[kLanes];
      for (unsigned lane = 0; lane < kLanes; ++lane)
        distance_has_bit[lane] = (~part_of(lane) & power) != 0 ? ~uint64_t{0} : 0;
      const Longs mask = Isa::load(distance_has_bit);
      const Number more = Field::multiply(last, factor_);
      for (unsigned i = 0; i < Field::kLimbs; ++i) last.limb[i] = Isa::select(mask, more.limb[i], last.limb[i]);
      Number square;
      for (unsigned i = 0; i < Field::kLimbs; ++i) square.limb[i] = factor_.limb[i];
      factor_ = Field::factor(Field::multiply(square, factor_));
    }
    last_factor_ = last;
  }

  void advance() noexcept {
    sums_.clear();
    n_ = next_blocks();
    --left_;
    while (left_ > regular_from_) step();
    if (left_ > kRegularTo) advance_regular(left_ - kRegularTo);
    while (left_ > 0) step();
  }

  // Steps in which every lane has a whole block of its text.
  void advance_regular(size_t steps) noexcept {
    Number n = n_;
    Sums sums = sums_;
    ptrdiff_t at = offset();
    for (size_t i = 0; i < steps; ++i, at += stride()) n = multiply_add(n, load(sums, end_, at));
    n_ = n;
    sums_ = sums;
    left_ -= steps;
  }

  [[gnu::noinline]] void step() noexcept {
    n_ = multiply_add(n_, next_blocks());
    --left_;
  }

  Number next_blocks() noexcept {
    if (left_ <= regular_from_ && left_ > kRegularTo) return load(sums_, end_, offset());
    const std::byte* at[kLanes];
    alignas(64) uint64_t begun[kLanes];
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      const auto number = static_cast<ptrdiff_t>(blocks_[lane]) - static_cast<ptrdiff_t>(left_ << parts_log2_);
      begun[lane] = number >= 0;
      at[lane] = number >= 0 ? block(lane, static_cast<size_t>(number) * kBlock) : kNothing;
    }
    Longs low, high;
    Isa::load_blocks(at, 0, low, high);
    sums_.add(low, high);
    return Field::number(low, high, Isa::load(begun));
  }

  [[gnu::always_inline]] inline Number multiply_add(const Number& n, const Number& blocks) const noexcept {
    return Field::add(Field::multiply(n, factor_), blocks);
  }

  // The blocks at `offset` from the lanes' pointers.
  [[gnu::always_inline]] static inline Number load(Sums& sums, const std::byte* const* from,
                                                   ptrdiff_t offset) noexcept {
    Longs low, high;
    Isa::load_blocks(from, offset, low, high);
    sums.add(low, high);
    return Field::number(low, high, Isa::broadcast64(1));
  }

  const std::byte* block(unsigned lane, size_t start) noexcept {
    if (start + kBlock <= size_[lane]) return end_[lane] + offset();
    if (start < size_[lane]) return last_block_[lane];
    lengths_[lane][1] = size_[lane];
    return reinterpret_cast<const std::byte*>(lengths_[lane]);
  }

  void end() noexcept {
    add_parts();
    Longs low, high;
    Field::reduce(n_, low, high);
    Steps::write_tags(burst_, first_, low, high, parts_log2_);
    if constexpr (kAddUp) write_sums();
  }

  // The parts' sums, without the block of lengths.
  void write_sums() noexcept {
    alignas(64) uint64_t sums[kLanes];
    sums_.store(sums);
    for (unsigned lane = 0; lane < packets_ << parts_log2_; lane += parts()) {
      uint64_t sum = 0;
      for (unsigned part = 0; part < parts(); ++part) sum += sums[lane + part];
      burst_.sums[packet_of(lane)] = sum - size_[lane];
    }
  }

  // Ends the parts and sums them in the packet's first lane.
  void add_parts() noexcept {
    n_ = Field::multiply(n_, Field::factor(last_factor_));
    alignas(64) uint64_t limbs[kLanes];
    for (unsigned i = 0; i < Field::kLimbs; ++i) {
      Isa::store(limbs, n_.limb[i]);
      for (unsigned lane = 0; lane < kLanes; lane += parts())
        for (unsigned part = 1; part < parts(); ++part) limbs[lane] += limbs[lane + part];
      n_.limb[i] = Isa::load(limbs);
    }
    n_ = Field::carried(n_);
  }

  Number n_;
  Factor factor_;
  Number last_factor_;
  Sums sums_;
  Burst& burst_;
  const size_t first_;
  const unsigned parts_log2_;  // of the lanes per packet
  const size_t packets_;
  size_t left_;          // steps still to be made
  size_t regular_from_;  // so many steps and less left, but more than kRegularTo, all lanes have blocks of their texts
  alignas(64) uint64_t size_[kLanes];
  size_t blocks_[kLanes];                 // of the lane's packet, and the lane's part
  const std::byte* end_[kLanes];          // of so many blocks
  std::byte last_block_[kLanes][kBlock];  // of texts that are no multiple of 16
  uint64_t lengths_[kLanes][2] = {};      // of additional data: 0; of the text
};

}  // namespace sluice::lanes
