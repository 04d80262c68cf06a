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
      if (done == burst.count) {
        groups[0].advance_to(0);
        groups[0].end();
        break;
      }
      done += groups[1].begin(burst, done);
      advance_both_to_end(groups);
      groups[0].end();
      groups[1].end();
    }
    erase(groups, sizeof groups);
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
    size_t begin(Burst& burst, size_t first) noexcept {
      burst_ = &burst;
      first_ = first;
      parts_ = choose_parts(burst, first);
      packets_ = min(kLanes / parts_, burst.count - first);
      size_t longest = 0, shortest = SIZE_MAX, last_regular = 0;
      for (unsigned lane = 0; lane < kLanes; ++lane) {
        const unsigned p = packet_of(lane);
        const Packet& packet = burst.packets[first + p];
        packet_[lane] = &packet;
        blocks_[lane] = blocks_of(packet);
        key_[lane] = burst.first_blocks[first + p].bytes;
        longest = max(longest, blocks_[lane]);
        shortest = min(shortest, blocks_[lane]);
        prepare_trailer(trailers_[lane], packet);
        if (parts_ == 1 && packet.size % kBlock != 0) last_regular = 1;
      }
      left_ = (longest + parts_ - 1) / parts_;
      regular_from_ = shortest / parts_;
      regular_to_ = 1 + last_regular;
      set_factors();
      h_ = load_irregular();
      --left_;
      return packets_;
    }

    void advance_to(size_t left) noexcept {
      while (left_ > left && left_ > regular_from_) step_irregular();
      const size_t to = max(left, regular_to_);
      if (left_ > to) {
        Group* const self[1] = {this};
        advance_regular(self, left_ - to);
      }
      while (left_ > left) step_irregular();
    }

    // Writes the tags.
    void end() noexcept {
      h_ = Field::multiply(h_, last_factor_);
      if (parts_ > 1) add_parts();
      Longs low, high;
      Field::reduce(h_, low, high);
      alignas(64) uint64_t lows[kLanes], highs[kLanes];
      Isa::store(lows, low);
      Isa::store(highs, high);
      for (unsigned p = 0; p < packets_; ++p) {
        const unsigned lane = p * parts_;
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
        stride[g] = static_cast<ptrdiff_t>(groups[g]->parts_ * kBlock);
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

   private:
    struct Trailer {
      std::byte last_block[kBlock];  // of a text that is no multiple of 16
      uint64_t additional_size, text_size;
    };
    static constexpr std::byte kNothing[kBlock] = {};

    // As many lanes per packet as keep most lanes busy for most of the steps.
    static unsigned choose_parts(const Burst& burst, size_t first) noexcept {
      constexpr size_t kCost = 6;  // of one more doubling, in steps
      const size_t longest = blocks_of(burst.packets[first]);
      const size_t rest = burst.count - first;
      if (rest >= kLanes && 4 * blocks_of(burst.packets[first + kLanes - 1]) >= 3 * longest) return 1;
      unsigned best = 1;
      size_t best_work = 0, best_steps = 1, overhead = 2;
      for (unsigned parts = 1; parts <= kLanes; parts *= 2, overhead += kCost) {
        size_t work = 0;
        for (size_t p = 0; p < min(kLanes / parts, rest); ++p) work += blocks_of(burst.packets[first + p]);
        const size_t steps = (longest + parts - 1) / parts + overhead;
        if (work * best_steps > best_work * steps) {
          best = parts;
          best_work = work;
          best_steps = steps;
        }
      }
      return best;
    }

    // Lanes without a packet repeat the last one.
    unsigned packet_of(unsigned lane) const noexcept { return static_cast<unsigned>(min(lane / parts_, packets_ - 1)); }
    unsigned part_of(unsigned lane) const noexcept { return lane % parts_; }

    static void prepare_trailer(Trailer& trailer, const Packet& packet) noexcept {
      const size_t rest = packet.size % kBlock;
      if (rest > 0) {
        __builtin_memset(trailer.last_block, 0, kBlock);
        __builtin_memcpy(trailer.last_block, packet.text + (packet.size - rest), rest);
      }
      trailer.additional_size = 0;
      trailer.text_size = packet.size;
    }

    void set_factors() noexcept {
      Longs low, high;
      Isa::load_blocks(key_, 0, low, high);
      const Number r = Field::number(Isa::bit_and(low, Isa::broadcast64(0x0ffffffc0fffffff)),
                                     Isa::bit_and(high, Isa::broadcast64(0x0ffffffc0ffffffc)), Isa::broadcast64(0));
      factor_ = last_factor_ = Field::factor(r);
      // A part that is d parts before the packet's last one ends with r^(d + 1), all others multiply by r^parts.
      Number last = r;
      for (unsigned power = 1; power < parts_; power *= 2) {
        alignas(64) uint64_t distance_has_bit[kLanes];
        for (unsigned lane = 0; lane < kLanes; ++lane)
          distance_has_bit[lane] = ((parts_ - 1 - part_of(lane)) & power) != 0 ? ~uint64_t{0} : 0;
        const Longs mask = Isa::load(distance_has_bit);
        const Number more = Field::multiply(last, factor_);
        for (unsigned i = 0; i < Field::kLimbs; ++i) last.limb[i] = Isa::select(mask, more.limb[i], last.limb[i]);
        last_factor_ = Field::factor(last);
        Number square;
        for (unsigned i = 0; i < Field::kLimbs; ++i) square.limb[i] = factor_.limb[i];
        factor_ = Field::factor(Field::multiply(square, factor_));
      }
    }

    // The block that a lane adds when so many steps are left; negative: the lane has not begun.
    ptrdiff_t block_number(unsigned lane, size_t left) const noexcept {
      return static_cast<ptrdiff_t>(blocks_[lane] + part_of(lane)) - static_cast<ptrdiff_t>(parts_ * left);
    }

    Number load_irregular() noexcept {
      alignas(64) uint64_t top[kLanes];
      for (unsigned lane = 0; lane < kLanes; ++lane) {
        const ptrdiff_t number = block_number(lane, left_);
        const size_t start = static_cast<size_t>(number) * kBlock;
        const Packet& packet = *packet_[lane];
        top[lane] = number >= 0;
        if (number < 0)
          at_[lane] = kNothing;
        else if (start + kBlock <= packet.size)
          at_[lane] = packet.text + start;
        else
          at_[lane] = start < packet.size ? trailers_[lane].last_block
                                          : reinterpret_cast<const std::byte*>(&trailers_[lane].additional_size);
      }
      Longs low, high;
      Isa::load_blocks(at_, 0, low, high);
      return Field::number(low, high, Isa::load(top));
    }

    void step_irregular() noexcept {
      h_ = Field::add(Field::multiply(h_, factor_), load_irregular());
      --left_;
    }

    void point_at_texts() noexcept {
      for (unsigned lane = 0; lane < kLanes; ++lane)
        at_[lane] = packet_[lane]->text + block_number(lane, left_) * static_cast<ptrdiff_t>(kBlock);
    }

    // Sums the parts of every packet in its first lane.
    void add_parts() noexcept {
      alignas(64) uint64_t limbs[kLanes];
      for (unsigned i = 0; i < Field::kLimbs; ++i) {
        Isa::store(limbs, h_.limb[i]);
        for (unsigned lane = 0; lane < kLanes; lane += parts_)
          for (unsigned part = 1; part < parts_; ++part) limbs[lane] += limbs[lane + part];
        h_.limb[i] = Isa::load(limbs);
      }
      erase(limbs, sizeof limbs);
    }

    Number h_;
    Factor factor_, last_factor_;
    Burst* burst_;
    size_t first_, packets_;
    unsigned parts_;                    // lanes per packet
    size_t left_;                       // steps still to be made
    size_t regular_from_, regular_to_;  // between so many left, every lane has whole blocks of its text
    const Packet* packet_[kLanes];
    size_t blocks_[kLanes];
    const std::byte* key_[kLanes];  // r, then s
    const std::byte* at_[kLanes];
    Trailer trailers_[kLanes];
  };

  static void advance_both_to_end(Group (&groups)[2]) noexcept {
    Group &a = groups[0], &b = groups[1];
    const size_t from = min(min(a.left(), b.left()), min(a.regular_from(), b.regular_from()));
    const size_t to = max(a.regular_to(), b.regular_to());
    if (from > to) {
      a.advance_to(from);
      b.advance_to(from);
      Group* const both[2] = {&a, &b};
      Group::advance_regular(both, from - to);
    }
    a.advance_to(0);
    b.advance_to(0);
  }
};

}  // namespace sluice::lanes
