// Poly1305 (RFC 8439) with a packet in every lane: each multiplies by its own r, so that no packet needs powers of r.
// Where a burst has too few long packets for that, a packet takes 2, 4 or 8 lanes ("parts") that read every second,
// fourth or eighth block and multiply by that power of r. Two groups of lanes run interleaved.
//
// Lanes of different lengths end together: short ones start later and add nothing until then. Steps are therefore
// counted by how many are left. What is authenticated is the text, padded with zeros to 16 bytes, and a block with the
// lengths of the additional data (none) and of the text.
//
// Field is the arithmetic, radix26.h or radix44.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dataplane/crypto/lanes/erase.h"
#include "dataplane/crypto/lanes/kernel.h"

namespace sluice::lanes {

template <class Field>
class Poly1305 {
 public:
  static void authenticate(Burst& burst) noexcept {
    Group groups[2];
    for (size_t done = 0; done < burst.count;) {
      done += groups[0].begin(burst, done);
      const bool alone = done == burst.count;
      if (!alone) {
        done += groups[1].begin(burst, done);
        advance_together(groups[0], groups[1]);
      }
      groups[0].advance_to_end();
      groups[0].end();
      if (alone) break;
      groups[1].advance_to_end();
      groups[1].end();
    }
    for (Group& group : groups) group.erase_secrets();
  }

 private:
  using Isa = typename Field::Isa;
  using Longs = typename Isa::Longs;
  using Number = typename Field::Number;
  using Factor = typename Field::Factor;
  static constexpr unsigned kLanes = Isa::kLongs;
  static constexpr size_t kBlock = 16;

  static constexpr size_t min(size_t a, size_t b) noexcept { return a < b ? a : b; }
  static constexpr size_t max(size_t a, size_t b) noexcept { return a > b ? a : b; }
  static constexpr size_t blocks_of(const Packet& packet) noexcept { return (packet.size + kBlock - 1) / kBlock + 1; }

  struct Group {
    // Takes packets of the burst from number `first` on; returns how many.
    [[gnu::noinline]] size_t begin(Burst& burst, size_t first) noexcept {
      burst_ = &burst;
      first_ = first;
      parts_log2_ = choose_parts_log2(burst, first);
      packets_ = min(kLanes >> parts_log2_, burst.count - first);
      size_t longest = 0, shortest = SIZE_MAX;
      bool ends_odd = false;
      for (unsigned lane = 0; lane < kLanes; ++lane) {
        const unsigned p = packet_of(lane);
        const Packet& packet = burst.packets[first + p];
        packet_[lane] = &packet;
        size_[lane] = packet.size;
        blocks_[lane] = blocks_of(packet);
        key_[lane] = burst.first_blocks[first + p].bytes;
        longest = max(longest, blocks_[lane]);
        shortest = min(shortest, blocks_[lane]);
        if (packet.size % kBlock != 0) {
          copy_last_block(last_block_[lane], packet);
          ends_odd = true;
        }
      }
      left_ = (longest + parts() - 1) >> parts_log2_;
      regular_from_ = shortest >> parts_log2_;
      regular_to_ = parts() == 1 && ends_odd ? 2 : 1;
      set_factors();
      h_ = load_next();
      --left_;
      return packets_;
    }

    // Whether it is quicker on its own, many blocks at a time, than together with another group.
    bool is_long() const noexcept { return Field::kWide > 1 && left_ >= kLong; }

    [[gnu::noinline]] void advance_to(size_t left) noexcept {
      while (left_ > left && left_ > regular_from_) step();
      if (is_long() && left_ <= regular_from_) advance_wide((left_ - max(left, regular_to_)) / Field::kWide);
      const size_t to = max(left, regular_to_);
      if (left_ > to) {
        Group* const self[1] = {this};
        advance_regular(self, left_ - to);
      }
      while (left_ > left) step();
    }

    void advance_to_end() noexcept { advance_to(0); }

    // Writes the tags.
    [[gnu::noinline]] void end() noexcept {
      if (parts() == 1)
        h_ = Field::multiply(h_, factor_);
      else
        add_parts();
      Longs low, high;
      Field::reduce(h_, low, high);
      alignas(64) uint64_t lows[kLanes], highs[kLanes];
      Isa::store(lows, low);
      Isa::store(highs, high);
      for (unsigned p = 0; p < packets_; ++p) {
        const unsigned lane = p << parts_log2_;
        uint64_t tag[2], s[2];
        __builtin_memcpy(s, key_[lane] + kBlock, sizeof s);
        tag[0] = lows[lane] + s[0];
        tag[1] = highs[lane] + s[1] + (tag[0] < s[0]);
        __builtin_memcpy(burst_->tags[first_ + p], tag, sizeof tag);
      }
    }

    size_t left() const noexcept { return left_; }
    size_t regular_from() const noexcept { return regular_from_; }
    size_t regular_to() const noexcept { return regular_to_; }

    // Steps in which every lane of every group has a whole block of its text.
    template <unsigned kGroups>
    static void advance_regular(Group* const (&groups)[kGroups], size_t steps) noexcept {
      Number h[kGroups];
      ptrdiff_t stride[kGroups], offset[kGroups];
      for (unsigned g = 0; g < kGroups; ++g) {
        groups[g]->point_at_texts();
        h[g] = groups[g]->h_;
        stride[g] = static_cast<ptrdiff_t>(groups[g]->parts() * kBlock);
        offset[g] = 0;
      }
      for (size_t i = 0; i < steps; ++i)
        for (unsigned g = 0; g < kGroups; ++g) {
          Longs low, high;
          Isa::load_blocks(groups[g]->at_, offset[g], low, high);
          offset[g] += stride[g];
          h[g] = Field::add(Field::multiply(h[g], groups[g]->factor_), Field::number(low, high, Isa::broadcast64(1)));
        }
      for (unsigned g = 0; g < kGroups; ++g) {
        groups[g]->h_ = h[g];
        groups[g]->left_ -= steps;
      }
    }

    void erase_secrets() noexcept {
      erase(h_);
      erase(factor_);
      erase(last_factor_);
    }

   private:
    static constexpr size_t kLong = 40;  // steps; fewer do not earn what the preparation of advance_wide() costs
    static constexpr std::byte kNothing[kBlock] = {};

    // As many lanes per packet (a power of two) as keep most lanes busy for most of the steps.
    static unsigned choose_parts_log2(const Burst& burst, size_t first) noexcept {
      constexpr size_t kCost = 6;  // of one more doubling, in steps
      const size_t longest = blocks_of(burst.packets[first]);
      const size_t rest = burst.count - first;
      if (rest >= kLanes && 4 * blocks_of(burst.packets[first + kLanes - 1]) >= 3 * longest) return 0;
      unsigned best = 0;
      size_t best_work = 0, best_steps = 1, overhead = 2;
      for (unsigned log2 = 0; kLanes >> log2 > 0; ++log2, overhead += kCost) {
        size_t work = 0;
        for (size_t p = 0; p < min(kLanes >> log2, rest); ++p) work += blocks_of(burst.packets[first + p]);
        const size_t steps = (longest >> log2) + 1 + overhead;
        if (work * best_steps > best_work * steps) {
          best = log2;
          best_work = work;
          best_steps = steps;
        }
      }
      return best;
    }

    unsigned parts() const noexcept { return 1u << parts_log2_; }
    // Lanes without a packet repeat the last one.
    unsigned packet_of(unsigned lane) const noexcept {
      return static_cast<unsigned>(min(lane >> parts_log2_, packets_ - 1));
    }
    unsigned part_of(unsigned lane) const noexcept { return lane & (parts() - 1); }

    static void copy_last_block(std::byte (&last)[kBlock], const Packet& packet) noexcept {
      const size_t rest = packet.size % kBlock;
      __builtin_memset(last, 0, kBlock);
      __builtin_memcpy(last, packet.text + (packet.size - rest), rest);
    }

    void set_factors() noexcept {
      Longs low, high;
      Isa::load_blocks(key_, 0, low, high);
      const Number r = Field::number(Isa::bit_and(low, Isa::broadcast64(0x0ffffffc0fffffff)),
                                     Isa::bit_and(high, Isa::broadcast64(0x0ffffffc0ffffffc)), Isa::broadcast64(0));
      factor_ = Field::factor(r);
      if (parts() > 1) set_factors_of_parts(r);
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

    // The block that a lane adds when so many steps are left; negative: the lane has not begun.
    ptrdiff_t block_number(unsigned lane, size_t left) const noexcept {
      return static_cast<ptrdiff_t>(blocks_[lane] + part_of(lane)) - static_cast<ptrdiff_t>(left << parts_log2_);
    }

    // The lanes' next blocks.
    Number load_next() noexcept {
      Longs low, high;
      if (left_ <= regular_from_ && left_ > regular_to_) {
        point_at_texts();
        Isa::load_blocks(at_, 0, low, high);
        return Field::number(low, high, Isa::broadcast64(1));
      }
      if (left_ == 1 && parts() == 1) return Field::number(Isa::broadcast64(0), Isa::load(size_), Isa::broadcast64(1));
      alignas(64) uint64_t begun[kLanes];
      for (unsigned lane = 0; lane < kLanes; ++lane) {
        const ptrdiff_t number = block_number(lane, left_);
        begun[lane] = number >= 0;
        at_[lane] = number >= 0 ? block(lane, static_cast<size_t>(number) * kBlock) : kNothing;
      }
      Isa::load_blocks(at_, 0, low, high);
      return Field::number(low, high, Isa::load(begun));
    }

    const std::byte* block(unsigned lane, size_t start) noexcept {
      if (start + kBlock <= size_[lane]) return packet_[lane]->text + start;
      if (start < size_[lane]) return last_block_[lane];
      lengths_[lane][1] = size_[lane];
      return reinterpret_cast<const std::byte*>(lengths_[lane]);
    }

    [[gnu::noinline]] void step() noexcept {
      h_ = Field::add(Field::multiply(h_, factor_), load_next());
      --left_;
    }

    // As advance_regular(), for one group and so many times Field::kWide steps.
    void advance_wide([[maybe_unused]] size_t times) noexcept {
      if constexpr (Field::kWide > 1) {
        typename Field::WideFactor wide;
        Field::set_wide_factor(wide, factor_);
        point_at_texts();
        Number h = h_;
        const ptrdiff_t stride = static_cast<ptrdiff_t>(parts() * kBlock);
        ptrdiff_t offset = 0;
        for (size_t i = 0; i < times; ++i) {
          asm volatile("" : : "r"(&wide) : "memory");  // no copies of the factors: they are operands in memory
          h = Field::wide_step(h, wide, [&](unsigned block, Longs& low, Longs& high) {
            Isa::load_blocks(at_, offset + block * stride, low, high);
          });
          offset += Field::kWide * stride;
        }
        h_ = h;
        left_ -= times * Field::kWide;
        erase(wide);
      }
    }

    void point_at_texts() noexcept {
      for (unsigned lane = 0; lane < kLanes; ++lane)
        at_[lane] = packet_[lane]->text + block_number(lane, left_) * static_cast<ptrdiff_t>(kBlock);
    }

    // Ends the parts and sums them in the packet's first lane.
    void add_parts() noexcept {
      h_ = Field::multiply(h_, Field::factor(last_factor_));
      alignas(64) uint64_t limbs[kLanes];
      for (unsigned i = 0; i < Field::kLimbs; ++i) {
        Isa::store(limbs, h_.limb[i]);
        for (unsigned lane = 0; lane < kLanes; lane += parts())
          for (unsigned part = 1; part < parts(); ++part) limbs[lane] += limbs[lane + part];
        h_.limb[i] = Isa::load(limbs);
      }
      h_ = Field::carried(h_);
      erase(limbs);
    }

    Number h_;
    Factor factor_;
    Number last_factor_;  // if there are parts
    Burst* burst_;
    size_t first_, packets_;
    unsigned parts_log2_;               // of the lanes per packet
    size_t left_;                       // steps still to be made
    size_t regular_from_, regular_to_;  // between so many left, every lane has whole blocks of its text
    const Packet* packet_[kLanes];
    alignas(64) uint64_t size_[kLanes];
    size_t blocks_[kLanes];
    const std::byte* key_[kLanes];  // r, then s
    const std::byte* at_[kLanes];
    std::byte last_block_[kLanes][kBlock];  // of texts that are no multiple of 16
    uint64_t lengths_[kLanes][2] = {};      // of additional data: 0; of the text
  };

  // As far as both are regular.
  static void advance_together(Group& a, Group& b) noexcept {
    if (Isa::kGroupsInFlight < 2 || a.is_long() || b.is_long()) return;
    const size_t from = min(min(a.left(), b.left()), min(a.regular_from(), b.regular_from()));
    const size_t to = max(a.regular_to(), b.regular_to());
    if (from <= to) return;
    a.advance_to(from);
    b.advance_to(from);
    Group* const both[2] = {&a, &b};
    Group::advance_regular(both, from - to);
  }
};

}  // namespace sluice::lanes
