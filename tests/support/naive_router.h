// Longest-prefix match as its definition has it, to compare with: one table per prefix length, tried from the longest.
// And prefixes that lie on top of and next to each other, as real tables do.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dataplane/base/net.h"
#include "tests/support/seeded_rng.h"

namespace sluice::test {

class NaiveRouter {
 public:
  void insert(const Prefix& prefix, uint32_t value) { by_length_[length_key(prefix)][number(prefix.address)] = value; }
  void erase(const Prefix& prefix) {
    const auto table = by_length_.find(length_key(prefix));
    if (table == by_length_.end()) return;
    table->second.erase(number(prefix.address));
    if (table->second.empty()) by_length_.erase(table);
  }
  std::optional<uint32_t> find(const IpAddress& address) const {
    for (const auto& [key, table] : by_length_) {
      const auto [family, shorter] = key;
      if (family != address.family) continue;
      const unsigned length = 128u - shorter;
      const Number mask = length == 0 ? 0 : ~Number{0} << (128 - length);
      if (const auto hit = table.find(number(address) & mask); hit != table.end()) return hit->second;
    }
    return std::nullopt;
  }

 private:
  __extension__ using Number = unsigned __int128;
  struct Hash {
    size_t operator()(Number n) const {
      return static_cast<size_t>((static_cast<uint64_t>(n >> 64) ^ static_cast<uint64_t>(n)) * 0x9e3779b97f4a7c15);
    }
  };
  static Number number(const IpAddress& address) {  // the first bit is the most significant, in either family
    Number n = 0;
    for (const uint8_t byte : address.bytes) n = n << 8 | byte;
    return n;
  }
  static std::pair<Family, uint8_t> length_key(const Prefix& prefix) {
    return {prefix.address.family, static_cast<uint8_t>(128 - prefix.length)};
  }

  std::map<std::pair<Family, uint8_t>, std::unordered_map<Number, uint32_t, Hash>> by_length_;
};

inline IpAddress random_address(SeededRng& rng, Family family) {
  std::array<uint8_t, 16> bytes;
  rng.fill(std::as_writable_bytes(std::span(bytes)));
  return family == Family::kIpv4 ? IpAddress::ipv4(bytes.data()) : IpAddress::ipv6(bytes.data());
}

inline void flip_bit(IpAddress& address, unsigned bit) {
  address.bytes[bit / 8] = static_cast<uint8_t>(address.bytes[bit / 8] ^ (0x80u >> (bit % 8)));
}

// Inside the prefix, or just outside it.
inline IpAddress random_address_near(SeededRng& rng, const Prefix& prefix) {
  IpAddress address = prefix.address;
  const IpAddress noise = random_address(rng, address.family);
  const IpAddress noise_prefix = Prefix::make(noise, prefix.length).address;
  for (unsigned i = 0; i < address.size(); ++i)
    address.bytes[i] = static_cast<uint8_t>(address.bytes[i] ^ noise.bytes[i] ^ noise_prefix.bytes[i]);
  if (rng.below(4) == 0) flip_bit(address, rng.below(address.bits()));
  return address;
}

// Most are near an earlier one; most lengths are the usual ones, but every length occurs.
inline std::vector<Prefix> clustered_prefixes(SeededRng& rng, size_t count) {
  static constexpr std::array<unsigned, 10> kUsual4 = {8, 12, 16, 20, 22, 24, 24, 30, 32, 32};
  static constexpr std::array<unsigned, 10> kUsual6 = {0, 16, 32, 40, 48, 56, 64, 64, 127, 128};
  std::vector<Prefix> prefixes;
  while (prefixes.size() < count) {
    IpAddress address = random_address(rng, rng.below(2) == 0 ? Family::kIpv4 : Family::kIpv6);
    if (!prefixes.empty() && rng.below(8) != 0)
      address = random_address_near(rng, prefixes[rng.below(static_cast<uint32_t>(prefixes.size()))]);
    unsigned length = (address.is_ipv4() ? kUsual4 : kUsual6)[rng.below(10)];
    if (rng.below(8) == 0) length = rng.below(address.bits() + 1);
    prefixes.push_back(Prefix::make(address, length));
  }
  return prefixes;
}

}  // namespace sluice::test
