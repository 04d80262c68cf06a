// Longest-prefix match: nanoseconds per look-up (single, and in bursts of 32) and per insertion, and bytes per prefix,
// for tables of several shapes and sizes. Look-ups ask for addresses inside known prefixes in random order. CPU time,
// the best of several rounds.
#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>
#include <vector>

#include "dataplane/lookup/prefix_map.h"
#include "tests/support/seeded_rng.h"

namespace sluice {
namespace {

using test::SeededRng;

constexpr size_t kLookUps = 1 << 20;
constexpr size_t kBurst = 32;
constexpr int kRounds = 3;

double cpu_ns() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

double heap_bytes() {
  const auto info = mallinfo2();
  return static_cast<double>(info.uordblks + info.hblkhd);
}

Prefix random_host(SeededRng& rng, size_t) {
  const uint32_t bits = rng.next_u32();
  return Prefix::host(IpAddress::ipv4(&bits));
}

Prefix dense_host(SeededRng&, size_t i) {  // 10.0.0.0 and on
  const uint32_t bits = __builtin_bswap32(0x0a000000u + static_cast<uint32_t>(i));
  return Prefix::host(IpAddress::ipv4(&bits));
}

Prefix site(SeededRng& rng, size_t) {  // a /64 below 2001:db8::/32
  std::array<uint8_t, 16> bytes{0x20, 0x01, 0x0d, 0xb8};
  const uint32_t bits = rng.next_u32();
  std::copy_n(reinterpret_cast<const uint8_t*>(&bits), 4, bytes.begin() + 4);
  return Prefix::make(IpAddress::ipv6(bytes.data()), 64);
}

void measure(const char* shape, Prefix (*make)(SeededRng&, size_t), size_t count) {
  SeededRng rng(count);
  std::vector<Prefix> prefixes;
  for (size_t i = 0; i < count; ++i) prefixes.push_back(make(rng, i));
  for (size_t i = count - 1; i > 0; --i) std::swap(prefixes[i], prefixes[rng.below(static_cast<uint32_t>(i + 1))]);

  const double heap_before = heap_bytes(), insert_start = cpu_ns();
  PrefixMap map;
  for (size_t i = 0; i < count; ++i) map.insert(prefixes[i], static_cast<uint32_t>(i));
  const double insert_ns = (cpu_ns() - insert_start) / static_cast<double>(count);
  map.take_garbage();
  const double bytes = (heap_bytes() - heap_before) / static_cast<double>(map.size());
  const PrefixView view = map.view();

  std::vector<IpAddress> targets(kLookUps);
  std::vector<const void*> pointers;
  for (IpAddress& target : targets) {
    target = prefixes[rng.below(static_cast<uint32_t>(count))].address;
    if (target.is_ipv6()) rng.fill(std::as_writable_bytes(std::span(target.bytes).last(8)));
    pointers.push_back(target.bytes.data());
  }
  double single_ns = 1e9, burst_ns = 1e9;
  uint64_t sum = 0;
  for (int round = 0; round < kRounds; ++round) {
    double start = cpu_ns();
    for (const IpAddress& target : targets)
      sum += target.is_ipv4() ? view.find_ipv4(target.bytes.data()) : view.find_ipv6(target.bytes.data());
    single_ns = std::min(single_ns, (cpu_ns() - start) / kLookUps);
    start = cpu_ns();
    for (size_t i = 0; i < kLookUps; i += kBurst) {
      std::array<uint32_t, kBurst> values;
      const auto burst = std::span<const void* const>(pointers).subspan(i, kBurst);
      targets[0].is_ipv4() ? view.find_burst_ipv4(burst, values) : view.find_burst_ipv6(burst, values);
      for (const uint32_t value : values) sum -= value;
    }
    burst_ns = std::min(burst_ns, (cpu_ns() - start) / kLookUps);
  }

  // One change at a time, each published: the copies of the path and their garbage included.
  constexpr int kUpdates = 20'000;
  const double update_start = cpu_ns();
  for (int i = 0; i < kUpdates; ++i) {
    const size_t which = rng.below(static_cast<uint32_t>(count));
    map.insert(prefixes[which], static_cast<uint32_t>(i));
    map.view();
    map.take_garbage();
  }
  const double update_ns = (cpu_ns() - update_start) / kUpdates;
  fmt::print(
      "{:<12} {:>8} prefixes: find {:6.1f} ns, in bursts {:6.1f} ns; insert {:6.0f} ns, published {:6.0f} ns; {:5.1f} "
      "bytes/prefix{}\n",
      shape, count, single_ns, burst_ns, insert_ns, update_ns, bytes, sum == 0 ? "" : " (answers differ)");
}

}  // namespace
}  // namespace sluice

int main() {
  for (const size_t count : {1u, 1'000u, 100'000u, 1'000'000u}) {
    sluice::measure("random /32", sluice::random_host, count);
    sluice::measure("dense /32", sluice::dense_host, count);
    sluice::measure("random /64", sluice::site, count);
  }
}
