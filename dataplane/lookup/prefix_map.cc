// Updates, for control: path copying. Nodes made since the last view() are known to no reader and are changed in place,
// so loading many prefixes at once leaves no garbage to speak of.
#include "dataplane/lookup/prefix_map.h"

#include <algorithm>
#include <new>
#include <utility>

#include "dataplane/lookup/prefix_node.h"

namespace sluice {
namespace {

using namespace prefix_trie;

void free_node(Link link) noexcept {
  switch (kind_of(link)) {
    case Kind::kLeaf:
      delete leaf_of(link);
      break;
    case Kind::kSkip:
      delete skip_of(link);
      break;
    case Kind::kBranch:
      ::operator delete(const_cast<Branch*>(branch_of(link)));
      break;
    case Kind::kValue:
    case Kind::kEmpty:
      break;
  }
}

void free_tree(Link link) noexcept {
  if (kind_of(link) == Kind::kSkip) free_tree(skip_of(link)->branch);
  if (kind_of(link) == Kind::kBranch) {
    const Branch& branch = *branch_of(link);
    for (const Link *child = branch.links(), *end = child + branch.children.count(); child != end; ++child)
      free_tree(*child);
  }
  free_node(link);
}

// A branch with room for these members; links and values are still to be filled in.
Branch* make_branch(uint64_t epoch, const Bitmap256& children, const Bitmap256& prefixes) {
  const size_t prefix_count = prefixes.count();
  const size_t prefix_bytes = prefix_count == 0 ? 0 : offsetof(Branch::StridePrefixes, bases) + 4 * (1 + prefix_count);
  const size_t links_offset = sizeof(Branch) + (prefix_bytes + 7) / 8 * 8;
  void* memory = ::operator new(links_offset + children.count() * sizeof(Link));
  auto* branch = new (memory) Branch{epoch, children.bases(), static_cast<uint32_t>(links_offset), children};
  if (prefix_count != 0) {
    branch->prefixes()->indices = prefixes;
    branch->prefixes()->bases = prefixes.bases();
  }
  return branch;
}

Bitmap256 prefixes_of(const Branch& branch) { return branch.has_prefixes() ? branch.prefixes()->indices : Bitmap256{}; }

// Copies an array of which the copy has one element more at `rank` (left for the caller to fill in), one less, or as
// many.
template <class T>
void copy_reshaped(std::span<const T> from, std::span<T> to, size_t rank) {
  const size_t resume = rank + (from.size() > to.size() ? 1 : 0);
  std::copy_n(from.begin(), std::min(rank, from.size()), to.begin());
  if (resume < from.size())
    std::copy(from.begin() + static_cast<ptrdiff_t>(resume), from.end(),
              to.begin() + static_cast<ptrdiff_t>(rank + (from.size() < to.size() ? 1 : 0)));
}

std::span<const Link> links_of(const Branch& b) { return {b.links(), b.children.count()}; }
std::span<Link> links_of(Branch& b) { return {b.links(), b.children.count()}; }
std::span<const uint32_t> values_of(const Branch& b) {
  return b.has_prefixes() ? std::span(b.prefixes()->values(), b.prefixes()->indices.count())
                          : std::span<const uint32_t>();
}
std::span<uint32_t> values_of(Branch& b) {
  return b.has_prefixes() ? std::span(b.prefixes()->values(), b.prefixes()->indices.count()) : std::span<uint32_t>();
}

// One insertion or removal. Every function takes the link to a subtree at `depth` and gives the link to what replaces
// it.
class Update {
 public:
  Update(const Prefix& prefix, uint32_t value, uint64_t epoch, std::vector<uintptr_t>& garbage)
      : prefix_(prefix), value_(value), epoch_(epoch), garbage_(garbage) {}

  Link insert(Link link, unsigned depth);
  Link erase(Link link, unsigned depth);  // the prefix is known to be there
  std::optional<uint32_t> previous() const { return previous_; }

 private:
  using Bytes = std::array<uint8_t, 16>;

  Link insert_at_leaf(const Leaf& leaf, unsigned depth);
  Link insert_at_skip(const Skip& skip, unsigned depth);
  Link insert_at_branch(const Branch& branch, unsigned depth);
  Link erase_at_skip(const Skip& skip);
  Link erase_at_branch(const Branch& branch, unsigned depth);
  Link collapse(Branch* branch, unsigned depth);

  // The branch with one member set, replaced or removed. In place if no reader knows it, else a copy.
  Branch* with_child(const Branch& branch, uint8_t byte, Link child);
  Branch* with_prefix(const Branch& branch, unsigned index, uint32_t value);
  Branch* without_prefix(const Branch& branch, unsigned index);
  Branch* reshaped(const Branch& branch, const Bitmap256& children, size_t link_rank, const Bitmap256& prefixes,
                   size_t value_rank);
  Link with_branch(const Skip& skip, Link branch);

  Link make_leaf(const Bytes& address, unsigned length, uint32_t value) {
    return link_to(new Leaf{address, value, static_cast<uint8_t>(length)});
  }
  Link make_skip(const Bytes& path, unsigned end, Link branch) {
    return link_to(new Skip{epoch_, path, branch, static_cast<uint8_t>(end)});
  }
  Link empty_branch() { return link_to(make_branch(epoch_, {}, {})); }
  Link below_skip(Link branch, unsigned end, unsigned depth) {
    return end == depth ? branch : make_skip(path_to(end), end, branch);
  }

  // A node that readers may know waits for their grace period.
  void retire(Link link, bool unknown_to_readers) {
    if (unknown_to_readers)
      free_node(link);
    else
      garbage_.push_back(link);
  }
  void retire(const Branch& branch) { retire(link_to(&branch), branch.epoch == epoch_); }
  void retire(const Skip& skip) { retire(link_to(&skip), skip.epoch == epoch_); }
  void retire(const Leaf& leaf) { retire(link_to(&leaf), false); }  // its age is not worth the memory

  uint8_t byte(unsigned depth) const { return prefix_.address.bytes[depth]; }
  bool ends_at(unsigned depth) const { return prefix_.length == 8 * depth; }
  bool ends_within(unsigned depth) const { return prefix_.length < 8 * depth + 8; }  // the stride of a branch there
  unsigned index_at(unsigned depth) const { return stride_index(byte(depth), prefix_.length - 8 * depth); }
  Bytes path_to(unsigned depth) const {
    Bytes path{};
    std::copy_n(prefix_.address.bytes.begin(), depth, path.begin());
    return path;
  }
  // How many of the first `most` bytes the prefix shares with a path.
  unsigned shared_bytes(const Bytes& path, unsigned most) const {
    const unsigned limit = std::min<unsigned>(most, prefix_.length / 8);
    unsigned n = 0;
    while (n < limit && path[n] == prefix_.address.bytes[n]) ++n;
    return n;
  }

  const Prefix& prefix_;
  const uint32_t value_;
  const uint64_t epoch_;
  std::vector<uintptr_t>& garbage_;
  std::optional<uint32_t> previous_;
};

Link Update::insert(Link link, unsigned depth) {
  switch (kind_of(link)) {
    case Kind::kEmpty:
      return ends_at(depth) ? value_link(value_) : make_leaf(prefix_.address.bytes, prefix_.length, value_);
    case Kind::kValue:
      if (ends_at(depth)) {
        previous_ = value_of(link);
        return value_link(value_);
      }
      return insert(link_to(with_prefix(*branch_of(empty_branch()), 1, value_of(link))), depth);
    case Kind::kLeaf:
      return insert_at_leaf(*leaf_of(link), depth);
    case Kind::kSkip:
      return insert_at_skip(*skip_of(link), depth);
    case Kind::kBranch:
      return insert_at_branch(*branch_of(link), depth);
  }
  return link;
}

Link Update::insert_at_leaf(const Leaf& leaf, unsigned depth) {
  if (leaf.length == prefix_.length && leaf.address == prefix_.address.bytes) {
    previous_ = leaf.value;
    const Link replacement = make_leaf(leaf.address, leaf.length, value_);
    retire(leaf);
    return replacement;
  }
  const unsigned parting = shared_bytes(leaf.address, leaf.length / 8);
  const Branch& branch = *branch_of(empty_branch());
  const uint8_t leaf_byte = leaf.address[parting];
  const unsigned leaf_bits = leaf.length - 8 * parting;
  Link both;
  if (leaf_bits > 8) {
    both = link_to(with_child(branch, leaf_byte, link_to(&leaf)));
  } else {
    both = leaf_bits == 8 ? link_to(with_child(branch, leaf_byte, value_link(leaf.value)))
                          : link_to(with_prefix(branch, stride_index(leaf_byte, leaf_bits), leaf.value));
    retire(leaf);
  }
  return below_skip(insert(both, parting), parting, depth);
}

Link Update::insert_at_skip(const Skip& skip, unsigned depth) {
  const unsigned parting = shared_bytes(skip.path, skip.end);
  if (parting == skip.end) return with_branch(skip, insert(skip.branch, parting));
  // Whole paths are kept in the nodes, so the skip may stay as it is below the new branch.
  const bool used_up = parting + 1u == skip.end;
  const Branch& branch = *branch_of(empty_branch());
  const Link old = link_to(with_child(branch, skip.path[parting], used_up ? skip.branch : link_to(&skip)));
  if (used_up) retire(skip);
  return below_skip(insert(old, parting), parting, depth);
}

Link Update::insert_at_branch(const Branch& branch, unsigned depth) {
  if (ends_within(depth)) return link_to(with_prefix(branch, index_at(depth), value_));
  const Link* child = branch.child(byte(depth));
  return link_to(with_child(branch, byte(depth), insert(child != nullptr ? *child : kEmptyLink, depth + 1)));
}

Link Update::erase(Link link, unsigned depth) {
  switch (kind_of(link)) {
    case Kind::kValue:
      previous_ = value_of(link);
      return kEmptyLink;
    case Kind::kLeaf:
      previous_ = leaf_of(link)->value;
      retire(*leaf_of(link));
      return kEmptyLink;
    case Kind::kSkip:
      return erase_at_skip(*skip_of(link));
    case Kind::kBranch:
      return erase_at_branch(*branch_of(link), depth);
    case Kind::kEmpty:
      break;
  }
  return link;
}

Link Update::erase_at_skip(const Skip& skip) {
  const Link rest = erase(skip.branch, skip.end);
  if (kind_of(rest) == Kind::kBranch) return with_branch(skip, rest);
  const Link lifted =
      kind_of(rest) == Kind::kValue ? make_leaf(path_to(skip.end), 8u * skip.end, value_of(rest)) : rest;
  retire(skip);
  return lifted;
}

Link Update::erase_at_branch(const Branch& branch, unsigned depth) {
  if (ends_within(depth)) return collapse(without_prefix(branch, index_at(depth)), depth);
  const Link rest = erase(*branch.child(byte(depth)), depth + 1);
  return collapse(with_child(branch, byte(depth), rest), depth);
}

// A branch with a single member left is something smaller.
Link Update::collapse(Branch* branch, unsigned depth) {
  const std::span<const Link> links = links_of(*branch);
  const std::span<const uint32_t> values = values_of(*branch);
  if (links.size() + values.size() != 1) return link_to(branch);
  Bytes path = path_to(depth);
  Link rest;
  if (values.size() == 1) {
    const unsigned index = branch->prefixes()->indices.first();
    const unsigned bits = static_cast<unsigned>(std::bit_width(index)) - 1;
    path[depth] = static_cast<uint8_t>(index << (8 - bits));  // the leading one falls off
    rest = bits == 0 ? value_link(values[0]) : make_leaf(path, 8 * depth + bits, values[0]);
  } else {
    path[depth] = static_cast<uint8_t>(branch->children.first());
    rest = links[0];
    if (kind_of(rest) == Kind::kValue) rest = make_leaf(path, 8 * (depth + 1), value_of(rest));
    if (kind_of(rest) == Kind::kBranch) rest = make_skip(path, depth + 1, rest);
  }
  retire(*branch);
  return rest;
}

Branch* Update::with_child(const Branch& branch, uint8_t at, Link child) {
  Bitmap256 children = branch.children;
  const unsigned rank = children.rank(at, branch.child_bases);
  const bool keeps_shape = children.test(at) == (child != kEmptyLink);
  if (keeps_shape && branch.epoch == epoch_) {
    Branch& own = const_cast<Branch&>(branch);
    own.links()[rank] = child;
    return &own;
  }
  if (child != kEmptyLink)
    children.set(at);
  else
    children.clear(at);
  Branch* changed = reshaped(branch, children, rank, prefixes_of(branch), 0);
  if (child != kEmptyLink) changed->links()[rank] = child;
  return changed;
}

Branch* Update::with_prefix(const Branch& branch, unsigned index, uint32_t value) {
  Bitmap256 prefixes = prefixes_of(branch);
  const unsigned rank = prefixes.rank(index, prefixes.bases());
  Branch* changed = const_cast<Branch*>(&branch);
  if (prefixes.test(index)) previous_ = values_of(branch)[rank];
  if (!prefixes.test(index) || branch.epoch != epoch_) {
    prefixes.set(index);
    changed = reshaped(branch, branch.children, 0, prefixes, rank);
  }
  changed->prefixes()->values()[rank] = value;
  return changed;
}

Branch* Update::without_prefix(const Branch& branch, unsigned index) {
  Bitmap256 prefixes = prefixes_of(branch);
  const unsigned rank = prefixes.rank(index, prefixes.bases());
  previous_ = values_of(branch)[rank];
  prefixes.clear(index);
  return reshaped(branch, branch.children, 0, prefixes, rank);
}

Branch* Update::reshaped(const Branch& branch, const Bitmap256& children, size_t link_rank, const Bitmap256& prefixes,
                         size_t value_rank) {
  Branch* copy = make_branch(epoch_, children, prefixes);
  copy_reshaped(links_of(branch), links_of(*copy), link_rank);
  copy_reshaped(values_of(branch), values_of(*copy), value_rank);
  retire(branch);
  return copy;
}

Link Update::with_branch(const Skip& skip, Link branch) {
  if (skip.epoch == epoch_) {
    const_cast<Skip&>(skip).branch = branch;
    return link_to(&skip);
  }
  if (skip.branch == branch) return link_to(&skip);
  const Link copy = make_skip(skip.path, skip.end, branch);
  retire(skip);
  return copy;
}

std::optional<uint32_t> find_exact(Link link, const Prefix& prefix) {
  unsigned depth = 0;
  for (;;) {
    switch (kind_of(link)) {
      case Kind::kEmpty:
        return std::nullopt;
      case Kind::kValue:
        if (prefix.length != 8 * depth) return std::nullopt;
        return value_of(link);
      case Kind::kLeaf: {
        const Leaf& leaf = *leaf_of(link);
        if (leaf.length != prefix.length || leaf.address != prefix.address.bytes) return std::nullopt;
        return leaf.value;
      }
      case Kind::kSkip: {
        const Skip& skip = *skip_of(link);
        if (prefix.length < 8 * skip.end ||
            !std::equal(skip.path.begin(), skip.path.begin() + skip.end, prefix.address.bytes.begin()))
          return std::nullopt;
        depth = skip.end;
        link = skip.branch;
        break;
      }
      case Kind::kBranch: {
        const Branch& branch = *branch_of(link);
        const uint8_t byte = prefix.address.bytes[depth];
        if (prefix.length < 8 * depth + 8) {
          const unsigned index = stride_index(byte, prefix.length - 8 * depth);
          const Bitmap256 prefixes = prefixes_of(branch);
          if (!prefixes.test(index)) return std::nullopt;
          return values_of(branch)[prefixes.rank(index, prefixes.bases())];
        }
        const Link* child = branch.child(byte);
        if (child == nullptr) return std::nullopt;
        link = *child;
        ++depth;
        break;
      }
    }
  }
}

}  // namespace

PrefixGarbage& PrefixGarbage::operator=(PrefixGarbage&& other) noexcept {
  std::swap(nodes_, other.nodes_);
  return *this;
}

PrefixGarbage::~PrefixGarbage() {
  for (const uintptr_t node : nodes_) free_node(node);
}

PrefixMap::~PrefixMap() {
  free_tree(root_.ipv4_);
  free_tree(root_.ipv6_);
}

std::optional<uint32_t> PrefixMap::insert(const Prefix& prefix, uint32_t value) {
  uintptr_t& root = root_of(prefix);
  Update update(prefix, value, epoch_, garbage_.nodes_);
  root = update.insert(root, 0);
  if (!update.previous()) ++size_;
  return update.previous();
}

std::optional<uint32_t> PrefixMap::erase(const Prefix& prefix) {
  if (!exact(prefix)) return std::nullopt;
  uintptr_t& root = root_of(prefix);
  Update update(prefix, 0, epoch_, garbage_.nodes_);
  root = update.erase(root, 0);
  --size_;
  return update.previous();
}

std::optional<uint32_t> PrefixMap::exact(const Prefix& prefix) const {
  return find_exact(prefix.address.is_ipv4() ? root_.ipv4_ : root_.ipv6_, prefix);
}

PrefixGarbage PrefixMap::take_garbage() { return std::exchange(garbage_, {}); }

}  // namespace sluice
