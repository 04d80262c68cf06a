// Look-ups, for the workers: one step per level, so that a burst can take each step for all of its addresses before
// it takes the next one.
#include <algorithm>

#include "dataplane/lookup/prefix_map.h"
#include "dataplane/lookup/prefix_node.h"

namespace sluice {
namespace {

using namespace prefix_trie;

struct Walk {
  const uint8_t* address = nullptr;
  Link link = kEmptyLink;
  const uint32_t* longest = nullptr;  // value of the longest prefix passed so far
  unsigned depth = 0;
  uint32_t result = PrefixView::kNone;  // once there is no further step

  const Link* end() noexcept {
    if (longest != nullptr) result = *longest;
    return nullptr;
  }
  const Link* end(uint32_t value) noexcept {
    result = value;
    return nullptr;
  }
};

// Where the next link stands; nullptr: the walk is over.
template <unsigned kBytes>
const Link* step(Walk& walk) noexcept {
  switch (kind_of(walk.link)) {
    case Kind::kValue:
      return walk.end(value_of(walk.link));
    case Kind::kLeaf: {
      const Leaf& leaf = *leaf_of(walk.link);
      return same_bits<kBytes>(walk.address, leaf.address.data(), leaf.length) ? walk.end(leaf.value) : walk.end();
    }
    case Kind::kSkip: {
      const Skip& skip = *skip_of(walk.link);
      if (!same_bits<kBytes>(walk.address, skip.path.data(), 8u * skip.end)) return walk.end();
      walk.depth = skip.end;
      return &skip.branch;
    }
    case Kind::kBranch: {
      const Branch& branch = *branch_of(walk.link);
      const uint8_t byte = walk.address[walk.depth++];
      if (const uint32_t* value = branch.longest_prefix(byte)) walk.longest = value;
      const Link* child = branch.child(byte);
      return child != nullptr ? child : walk.end();
    }
    case Kind::kEmpty:
      break;
  }
  return walk.end();
}

// One address on its own, without a stop after each step.
template <unsigned kBytes>
uint32_t find_one(Link link, const uint8_t* address) noexcept {
  uint32_t longest = PrefixView::kNone;
  unsigned depth = 0;
  for (;;) {
    if (kind_of(link) == Kind::kBranch) {
      const Branch& branch = *branch_of(link);
      const uint8_t byte = address[depth++];
      if (const uint32_t* value = branch.longest_prefix(byte)) longest = *value;
      const Link* child = branch.child(byte);
      if (child == nullptr) return longest;
      link = *child;
    } else if (kind_of(link) == Kind::kSkip) {
      const Skip& skip = *skip_of(link);
      if (!same_bits<kBytes>(address, skip.path.data(), 8u * skip.end)) return longest;
      depth = skip.end;
      link = skip.branch;
    } else if (kind_of(link) == Kind::kLeaf) {
      const Leaf& leaf = *leaf_of(link);
      return same_bits<kBytes>(address, leaf.address.data(), leaf.length) ? leaf.value : longest;
    } else {
      return kind_of(link) == Kind::kValue ? value_of(link) : longest;
    }
  }
}

// A branch's header and what is looked at behind it are mostly in two lines; other nodes are shorter.
void prefetch_node(Link link) noexcept {
  if (kind_of(link) == Kind::kValue) return;
  const char* node = reinterpret_cast<const char*>(link & ~kKindMask);
  __builtin_prefetch(node);
  __builtin_prefetch(node + 47);
}

constexpr size_t kChunk = 64;  // more than the cache misses a core can have under way

template <unsigned kBytes>
void find_chunk(Link root, std::span<const void* const> addresses, std::span<uint32_t> values) noexcept {
  std::array<Walk, kChunk> walks;
  std::array<Walk*, kChunk> walking;
  std::array<const Link*, kChunk> next;
  size_t count = addresses.size();
  for (size_t i = 0; i < count; ++i) {
    walks[i] = Walk{.address = static_cast<const uint8_t*>(addresses[i]), .link = root};
    walking[i] = &walks[i];
  }
  while (count != 0) {
    size_t left = 0;
    for (size_t i = 0; i < count; ++i) {
      next[left] = step<kBytes>(*walking[i]);
      __builtin_prefetch(next[left]);
      walking[left] = walking[i];
      left += next[left] != nullptr;
    }
    for (size_t i = 0; i < left; ++i) {
      walking[i]->link = *next[i];
      prefetch_node(walking[i]->link);
    }
    count = left;
  }
  for (size_t i = 0; i < addresses.size(); ++i) values[i] = walks[i].result;
}

template <unsigned kBytes>
void find_burst(Link root, std::span<const void* const> addresses, std::span<uint32_t> values) noexcept {
  for (size_t done = 0; done < addresses.size(); done += kChunk) {
    const size_t count = std::min(kChunk, addresses.size() - done);
    find_chunk<kBytes>(root, addresses.subspan(done, count), values.subspan(done, count));
  }
}

}  // namespace

uint32_t PrefixView::find_ipv4(const void* address) const noexcept {
  return find_one<4>(ipv4_, static_cast<const uint8_t*>(address));
}

uint32_t PrefixView::find_ipv6(const void* address) const noexcept {
  return find_one<16>(ipv6_, static_cast<const uint8_t*>(address));
}

uint32_t PrefixView::find(const IpAddress& address) const noexcept {
  if (address.is_ipv4()) return find_ipv4(address.bytes.data());
  return address.is_ipv6() ? find_ipv6(address.bytes.data()) : kNone;
}

void PrefixView::find_burst_ipv4(std::span<const void* const> addresses, std::span<uint32_t> values) const noexcept {
  find_burst<4>(ipv4_, addresses, values);
}

void PrefixView::find_burst_ipv6(std::span<const void* const> addresses, std::span<uint32_t> values) const noexcept {
  find_burst<16>(ipv6_, addresses, values);
}

}  // namespace sluice
