// What a datagram has to have in common with the last one for the same to be true of its destination, byte by byte.
#include "dataplane/pipeline/last_socket.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

namespace sluice {
namespace {

struct Range {
  size_t at, size;
  bool contains(size_t byte) const { return byte >= at && byte < at + size; }
};

// What of the headers may differ: all that neither is the destination's nor says what kind of packet it is.
std::vector<Range> of_others(const Ipv4Header&) {
  return {{offsetof(Ipv4Header, tos), 1},
          {offsetof(Ipv4Header, total_length), 2},
          {offsetof(Ipv4Header, id), 2},
          {offsetof(Ipv4Header, ttl), 1},
          {offsetof(Ipv4Header, checksum), 2},
          {offsetof(Ipv4Header, source), 4},
          {sizeof(Ipv4Header) + offsetof(UdpHeader, source_port), 2},
          {sizeof(Ipv4Header) + offsetof(UdpHeader, length), 4}};  // and its checksum
}
std::vector<Range> of_others(const Ipv6Header&) {
  return {{offsetof(Ipv6Header, version_class_flow) + 1, 3},
          {offsetof(Ipv6Header, payload_length), 2},
          {offsetof(Ipv6Header, hop_limit), 1},
          {offsetof(Ipv6Header, source), 16},
          {sizeof(Ipv6Header) + offsetof(UdpHeader, source_port), 2},
          {sizeof(Ipv6Header) + offsetof(UdpHeader, length), 4}};
}

template <class IpHeader>
class LastSocketTest : public ::testing::Test {
 protected:
  static constexpr size_t kHeaders = LastSocket<IpHeader>::kHeaders;
  std::array<std::byte, kHeaders> packet_ = [] {
    std::array<std::byte, kHeaders> packet{};
    for (size_t i = 0; i < packet.size(); ++i) packet[i] = static_cast<std::byte>(0x35 + 7 * i);
    packet[0] = sizeof(IpHeader) == sizeof(Ipv4Header) ? std::byte{0x45} : std::byte{0x60};
    return packet;
  }();
  LastSocket<IpHeader> socket_;
};

using Headers = ::testing::Types<Ipv4Header, Ipv6Header>;
TYPED_TEST_SUITE(LastSocketTest, Headers);

TYPED_TEST(LastSocketTest, NoneAtFirst) { EXPECT_FALSE(this->socket_.is_of(this->packet_.data())); }

TYPED_TEST(LastSocketTest, EveryBitCountsOrDoesNot) {
  this->socket_.remember(this->packet_.data());
  EXPECT_TRUE(this->socket_.is_of(this->packet_.data()));
  const std::vector<Range> others = of_others(TypeParam{});
  for (size_t at = 0; at < this->packet_.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      auto other = this->packet_;
      other[at] ^= static_cast<std::byte>(1 << bit);
      bool alike = std::ranges::any_of(others, [at](const Range& range) { return range.contains(at); });
      if (sizeof(TypeParam) == sizeof(Ipv4Header)) {
        alike |= at == offsetof(Ipv4Header, flags_fragment) && bit == 6;  // Don't Fragment
      } else {
        alike |= at == 0 && bit < 4;  // of the traffic class
      }
      EXPECT_EQ(this->socket_.is_of(other.data()), alike) << "bit " << bit << " of byte " << at;
    }
  }
}

TYPED_TEST(LastSocketTest, TheLastOneOnly) {
  auto other = this->packet_;
  other[sizeof(TypeParam) + offsetof(UdpHeader, destination_port)] ^= std::byte{1};
  this->socket_.remember(this->packet_.data());
  this->socket_.remember(other.data());
  EXPECT_FALSE(this->socket_.is_of(this->packet_.data()));
  EXPECT_TRUE(this->socket_.is_of(other.data()));
}

}  // namespace
}  // namespace sluice
