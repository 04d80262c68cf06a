// The sizes that everything is measured at.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

namespace sluice::bench {

// One burst: the size of each packet, in order.
struct Traffic {
  std::string name;
  std::vector<size_t> sizes;
};

inline constexpr size_t kBurstPackets = 64;

inline Traffic of_size(size_t size) { return {std::to_string(size), std::vector<size_t>(kBurstPackets, size)}; }

// The simple Internet mix: 7 x 64, 4 x 594, 1 x 1420, five times.
inline Traffic imix() {
  constexpr std::array<size_t, 12> kMix = {64, 594, 64, 64, 594, 64, 1420, 64, 594, 64, 64, 594};
  Traffic traffic{"imix", {}};
  for (int i = 0; i < 5; ++i) traffic.sizes.insert(traffic.sizes.end(), kMix.begin(), kMix.end());
  return traffic;
}

inline std::vector<Traffic> all_traffic() {
  std::vector<Traffic> all;
  for (const size_t size : {64, 128, 256, 512, 1024, 1420}) all.push_back(of_size(size));
  all.push_back(imix());
  return all;
}

}  // namespace sluice::bench
