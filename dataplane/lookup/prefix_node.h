// The trie behind PrefixMap, as it lies in memory: a multibit trie of stride 8, one address byte per level, whose
// arrays are compressed by bitmaps (tree bitmap, Eatherton 2004; the prefixes inside a stride are numbered as in
// Knuth's allotment routing table). Private to this layer.
//
// A link at depth d leads to every prefix of at least 8*d bits whose first d bytes are the path to it. What hangs on it
// is the smallest thing that can say so:
//   empty   no prefix
//   value   one prefix that ends exactly at d (no memory but the link)
//   leaf    one prefix that is longer
//   branch  several that part ways, or end, within byte d
//   skip    several that share at least byte d: the bytes up to where they part, and the branch there
// So the shape follows from the set of prefixes alone, and a chain of branches with a single child does not occur.
#pragma once

#include <endian.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sluice::prefix_trie {

using Link = uintptr_t;  // the kind in the low bits; a value in the upper half, or the address of a node
static_assert(sizeof(Link) == 8);

enum class Kind : unsigned { kEmpty, kValue, kLeaf, kSkip, kBranch };

inline constexpr Link kEmptyLink = 0;
inline constexpr Link kKindMask = 7;  // nodes are aligned to 8 bytes at least

inline Kind kind_of(Link link) noexcept { return static_cast<Kind>(link & kKindMask); }
inline uint32_t value_of(Link link) noexcept { return static_cast<uint32_t>(link >> 32); }
inline Link value_link(uint32_t value) noexcept { return Link{value} << 32 | static_cast<Link>(Kind::kValue); }

// Indices 0..255. A rank is the number of members below an index: one population count on top of `bases`, which holds
// the number of members before each word, a byte each (at most 192).
struct Bitmap256 {
  std::array<uint64_t, 4> words{};

  bool test(unsigned i) const noexcept { return ((words[i / 64] >> (i % 64)) & 1) != 0; }
  void set(unsigned i) noexcept { words[i / 64] |= uint64_t{1} << (i % 64); }
  void clear(unsigned i) noexcept { words[i / 64] &= ~(uint64_t{1} << (i % 64)); }

  unsigned rank(unsigned i, uint32_t bases) const noexcept {
    const uint64_t below = words[i / 64] & ((uint64_t{1} << (i % 64)) - 1);
    return ((bases >> (i / 64 * 8)) & 0xff) + static_cast<unsigned>(std::popcount(below));
  }
  unsigned count() const noexcept {
    unsigned n = 0;
    for (const uint64_t word : words) n += static_cast<unsigned>(std::popcount(word));
    return n;
  }
  uint32_t bases() const noexcept {
    uint32_t packed = 0;
    unsigned n = 0;
    for (unsigned w = 0; w < 4; ++w) {
      packed |= n << (8 * w);
      n += static_cast<unsigned>(std::popcount(words[w]));
    }
    return packed;
  }
  unsigned first() const noexcept {  // of a non-empty set
    unsigned w = 0;
    while (words[w] == 0) ++w;
    return 64 * w + static_cast<unsigned>(std::countr_zero(words[w]));
  }
};

// Number of a prefix within its stride: `bits` (0..7) leading bits of `byte`. The parent of i is i / 2, the root is 1.
inline unsigned stride_index(uint8_t byte, unsigned bits) noexcept { return 1u << bits | unsigned{byte} >> (8 - bits); }

// By the upper five bits of a byte: the indices of all prefixes of 0..5 bits that cover it; they are all in word 0.
inline constexpr auto kShortPrefixes = [] {
  std::array<uint64_t, 32> table{};
  for (unsigned five = 0; five < 32; ++five)
    for (unsigned i = 32 | five; i != 0; i /= 2) table[five] |= uint64_t{1} << i;
  return table;
}();

// One prefix; the host bits are zero.
struct Leaf {
  std::array<uint8_t, 16> address;
  uint32_t value;
  uint8_t length;  // bits
};

struct Skip {
  uint64_t epoch;                // see PrefixMap::epoch_
  std::array<uint8_t, 16> path;  // from byte 0 on; zeros from `end` on
  Link branch;                   // at depth `end`
  uint8_t end;                   // bytes
};

// Followed in memory by the prefixes that end within the stride, if there are any (StridePrefixes, its values, padding
// to 8 bytes), and then by a link for every member of `children`.
struct Branch {
  uint64_t epoch;
  uint32_t child_bases;
  uint32_t links_offset;
  Bitmap256 children;  // by the byte at the branch's depth

  // Readers: the slot of the child below `byte`, nullptr if there is none.
  const Link* child(uint8_t byte) const noexcept {
    return children.test(byte) ? &links()[children.rank(byte, child_bases)] : nullptr;
  }
  // Readers: the value of the longest prefix within the stride that covers `byte`, nullptr if there is none.
  const uint32_t* longest_prefix(uint8_t byte) const noexcept;

  struct StridePrefixes {
    Bitmap256 indices;  // by stride_index
    uint32_t bases;
    const uint32_t* values() const noexcept { return &bases + 1; }
    uint32_t* values() noexcept { return &bases + 1; }
  };
  bool has_prefixes() const noexcept { return links_offset != sizeof(Branch); }
  const StridePrefixes* prefixes() const noexcept { return reinterpret_cast<const StridePrefixes*>(this + 1); }
  StridePrefixes* prefixes() noexcept { return reinterpret_cast<StridePrefixes*>(this + 1); }
  const Link* links() const noexcept {
    return reinterpret_cast<const Link*>(reinterpret_cast<const std::byte*>(this) + links_offset);
  }
  Link* links() noexcept { return reinterpret_cast<Link*>(reinterpret_cast<std::byte*>(this) + links_offset); }
};
static_assert(sizeof(Branch) == 48);

inline const uint32_t* Branch::longest_prefix(uint8_t byte) const noexcept {
  if (!has_prefixes()) return nullptr;
  const StridePrefixes& set = *prefixes();
  unsigned i = stride_index(byte, 7);
  if (!set.indices.test(i)) i /= 2;
  if (!set.indices.test(i)) {
    const uint64_t covering = set.indices.words[0] & kShortPrefixes[byte >> 3];
    if (covering == 0) return nullptr;
    i = 63 - static_cast<unsigned>(std::countl_zero(covering));
  }
  return &set.values()[set.indices.rank(i, set.bases)];
}

inline const Leaf* leaf_of(Link link) noexcept { return reinterpret_cast<const Leaf*>(link & ~kKindMask); }
inline const Skip* skip_of(Link link) noexcept { return reinterpret_cast<const Skip*>(link & ~kKindMask); }
inline const Branch* branch_of(Link link) noexcept { return reinterpret_cast<const Branch*>(link & ~kKindMask); }

inline Link link_to(const Leaf* node) noexcept { return reinterpret_cast<Link>(node) | static_cast<Link>(Kind::kLeaf); }
inline Link link_to(const Skip* node) noexcept { return reinterpret_cast<Link>(node) | static_cast<Link>(Kind::kSkip); }
inline Link link_to(const Branch* node) noexcept {
  return reinterpret_cast<Link>(node) | static_cast<Link>(Kind::kBranch);
}

// Whether the first `length` bits of two addresses of `kBytes` bytes agree; 1 <= length <= 8 * kBytes.
template <unsigned kBytes>
bool same_bits(const uint8_t* a, const uint8_t* b, unsigned length) noexcept {
  const auto difference = [a, b]<class Word>(unsigned offset, Word) {
    Word x, y;
    std::memcpy(&x, a + offset, sizeof x);
    std::memcpy(&y, b + offset, sizeof y);
    return x ^ y;
  };
  if constexpr (kBytes == 4) {
    return be32toh(difference(0, uint32_t{})) >> (32 - length) == 0;
  } else {
    static_assert(kBytes == 16);
    const uint64_t high = be64toh(difference(0, uint64_t{}));
    if (length <= 64) return high >> (64 - length) == 0;
    return high == 0 && be64toh(difference(8, uint64_t{})) >> (128 - length) == 0;
  }
}

}  // namespace sluice::prefix_trie
