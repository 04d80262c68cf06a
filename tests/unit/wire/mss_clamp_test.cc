#include "dataplane/wire/mss_clamp.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "dataplane/wire/ip.h"

namespace sluice {
namespace {

using Octets = std::vector<uint8_t>;

constexpr uint8_t kSyn = 0x02, kSynAck = 0x12, kAck = 0x10, kSynRst = 0x06;
constexpr uint16_t kMtu = 1420, kFits4 = 1380, kFits6 = 1360;

Octets mss(uint16_t value) { return {2, 4, static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)}; }
Octets operator+(Octets a, const Octets& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// The transport checksum, summed word by word as RFC 9293 (section 3.1) says; 0 over a right segment.
uint16_t tcp_checksum(const Octets& addresses, const Octets& segment) {
  Octets all =
      addresses + Octets{0, 6, static_cast<uint8_t>(segment.size() >> 8), static_cast<uint8_t>(segment.size())};
  all = all + segment;
  if (all.size() % 2 != 0) all.push_back(0);
  uint32_t sum = 0;
  for (size_t i = 0; i < all.size(); i += 2) sum += static_cast<uint32_t>(all[i] << 8 | all[i + 1]);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

struct Shape {
  uint8_t flags = kSyn;
  uint16_t fragment = 0;
  Octets extensions;       // IPv6, between the headers
  uint8_t first = 6;       // next header or protocol
  Octets ip_options;       // IPv4
  size_t data_offset = 0;  // in words; 0: what the options need
  Octets payload = {};
};

Octets segment(const Octets& options, const Shape& shape) {
  const size_t words = shape.data_offset != 0 ? shape.data_offset : 5 + (options.size() + 3) / 4;
  Octets tcp{0x30,        0x39, 0x00, 0x50, 1, 2, 3, 4, 0, 0, 0, 0, static_cast<uint8_t>(words << 4),
             shape.flags, 0xfa, 0xf0, 0,    0, 0, 0};
  tcp = tcp + options;
  tcp.resize(std::max<size_t>(tcp.size(), 20 + (options.size() + 3) / 4 * 4));
  return tcp + shape.payload;
}

Octets with_checksum(Octets tcp, const Octets& addresses) {
  const uint16_t sum = tcp_checksum(addresses, tcp);
  tcp[16] = static_cast<uint8_t>(sum >> 8);
  tcp[17] = static_cast<uint8_t>(sum);
  return tcp;
}

const Octets kAddresses4{10, 1, 0, 2, 10, 2, 0, 2};
const Octets kAddresses6 = [] {
  Octets both(32);
  both[0] = both[16] = 0xfd;
  both[15] = 1;
  both[31] = 2;
  return both;
}();

Octets ipv4(const Octets& options, const Shape& shape = {}) {
  const Octets tcp = with_checksum(segment(options, shape), kAddresses4);
  const size_t total = 20 + shape.ip_options.size() + tcp.size();
  Octets ip{static_cast<uint8_t>(0x45 + shape.ip_options.size() / 4),
            0,
            static_cast<uint8_t>(total >> 8),
            static_cast<uint8_t>(total),
            0,
            0,
            static_cast<uint8_t>(shape.fragment >> 8),
            static_cast<uint8_t>(shape.fragment),
            64,
            shape.first,
            0,
            0};
  return ip + kAddresses4 + shape.ip_options + tcp;
}

Octets ipv6(const Octets& options, const Shape& shape = {}) {
  const Octets rest = shape.extensions + with_checksum(segment(options, shape), kAddresses6);
  return Octets{0x60,        0, 0, 0, static_cast<uint8_t>(rest.size() >> 8), static_cast<uint8_t>(rest.size()),
                shape.first, 64} +
         kAddresses6 + rest;
}

// At an exact end, so that a sanitizer sees a byte too many.
Octets clamped(const Octets& packet, uint16_t mtu = kMtu) {
  std::vector<std::byte> copy(packet.size());
  std::transform(packet.begin(), packet.end(), copy.begin(), [](uint8_t b) { return std::byte{b}; });
  copy.shrink_to_fit();
  clamp_mss(copy, mtu);
  Octets result(packet.size());
  std::transform(copy.begin(), copy.end(), result.begin(), [](std::byte b) { return static_cast<uint8_t>(b); });
  return result;
}

TEST(MssClamp, LowersSynAndSynAck) {
  for (const uint8_t flags : {kSyn, kSynAck}) {
    EXPECT_EQ(clamped(ipv4(mss(1460), {.flags = flags})), ipv4(mss(kFits4), {.flags = flags}));
    EXPECT_EQ(clamped(ipv6(mss(1440), {.flags = flags})), ipv6(mss(kFits6), {.flags = flags}));
  }
}

TEST(MssClamp, NeverRaises) {
  for (const uint16_t value : {uint16_t{0}, uint16_t{536}, uint16_t{kFits4 - 1}, kFits4})
    EXPECT_EQ(clamped(ipv4(mss(value))), ipv4(mss(value)));
  EXPECT_EQ(clamped(ipv4(mss(kFits4 + 1))), ipv4(mss(kFits4)));
  EXPECT_EQ(clamped(ipv6(mss(kFits6))), ipv6(mss(kFits6)));
  EXPECT_EQ(clamped(ipv6(mss(kFits6 + 1))), ipv6(mss(kFits6)));
}

TEST(MssClamp, NeverAdds) {
  EXPECT_EQ(clamped(ipv4({})), ipv4({}));
  EXPECT_EQ(clamped(ipv4({1, 3, 3, 7})), ipv4({1, 3, 3, 7}));
}

// What Linux sends: MSS, SACK permitted, timestamps, window scale; and the same with no-operations in front, so that
// the value starts at an odd offset.
TEST(MssClamp, FindsTheOptionAtEveryOffset) {
  const Octets others{4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7};
  for (size_t nops = 0; nops < 8; ++nops) {
    const Octets before(nops, 1);
    EXPECT_EQ(clamped(ipv4(before + mss(65535) + others)), ipv4(before + mss(kFits4) + others)) << nops;
    EXPECT_EQ(clamped(ipv6(before + mss(8960) + others)), ipv6(before + mss(kFits6) + others)) << nops;
  }
  EXPECT_EQ(clamped(ipv4(others + Octets{2, 4, 5, 0xb4})), ipv4(others + mss(kFits4)));
}

// Every value, at an even and at an odd offset: the adjusted checksum is the one that a sum over everything gives.
TEST(MssClamp, ChecksumHoldsForEveryValue) {
  std::minstd_rand random(1);
  for (uint64_t value = 0; value <= 0xffff; value += 1 + random() % 50) {
    for (const Octets& before : {Octets{}, Octets{1}}) {
      const auto asked = static_cast<uint16_t>(value), limit = static_cast<uint16_t>(random() % 9000 + 41);
      const auto expected = std::min<uint16_t>(asked, static_cast<uint16_t>(limit - 40));
      const Octets payload{static_cast<uint8_t>(random()), static_cast<uint8_t>(random())};
      ASSERT_EQ(clamped(ipv4(before + mss(asked), {.payload = payload}), limit),
                ipv4(before + mss(expected), {.payload = payload}))
          << asked << " to " << expected;
    }
  }
}

TEST(MssClamp, LeavesEverythingElse) {
  const Octets big = mss(1460);
  for (const Octets& packet : {
           ipv4(big, {.flags = kAck}),
           ipv4(big, {.flags = kSynRst}),
           ipv6(big, {.flags = kAck}),
           ipv4(big, {.first = 17}),
           ipv6(big, {.first = 17}),
           ipv4(big, {.fragment = 0x2000}),  // the first of several
           ipv4(big, {.fragment = 0x0001}),  // a later one
           ipv6(big, {.extensions = {6, 0, 0, 1, 0, 0, 0, 1}, .first = 44}),
       })
    EXPECT_EQ(clamped(packet), packet);
  EXPECT_EQ(clamped(ipv4(big, {.fragment = 0x4000})), ipv4(mss(kFits4), {.fragment = 0x4000}));  // DF is no fragment
}

TEST(MssClamp, LooksBehindIpOptionsAndExtensionHeaders) {
  const Shape with_options{.ip_options = Octets(8, 1)};
  EXPECT_EQ(clamped(ipv4(mss(1460), with_options)), ipv4(mss(kFits4), with_options));
  Octets hop_by_hop{60, 0, 1, 4, 0, 0, 0, 0}, destination{6, 1, 1, 12};
  destination.resize(16);
  const Shape extended{.extensions = hop_by_hop + destination, .first = 0};
  EXPECT_EQ(clamped(ipv6(mss(1460), extended)), ipv6(mss(kFits6), extended));
  const Shape too_long{.extensions = {6, 200, 0, 0, 0, 0, 0, 0}, .first = 0};
  EXPECT_EQ(clamped(ipv6(mss(1460), too_long)), ipv6(mss(1460), too_long));
}

TEST(MssClamp, LeavesMalformedOptions) {
  const std::vector<Octets> malformed{
      {2, 3, 5, 0xb4},                              // MSS of the wrong size
      {2, 6, 5, 0xb4, 0, 0},                        // likewise
      {0, 2, 4, 5, 0xb4},                           // behind the end of the options
      {8, 0, 2, 4, 5, 0xb4},                        // an option of length 0
      {8, 1, 2, 4, 5, 0xb4},                        // of length 1
      {8, 40, 2, 4, 5, 0xb4},                       // longer than the header
      {1, 1, 1, 8},                                 // no room for a length
      {1, 1, 2, 4},                                 // MSS cut off by the end of the header
      {1, 2, 4, 5},                                 // likewise
      {4, 2, 5, 10, 2, 4, 5, 0xb4, 2, 4, 5, 0xb4},  // within the body of another option and cut off behind it
  };
  for (const Octets& options : malformed) EXPECT_EQ(clamped(ipv4(options)), ipv4(options));
}

TEST(MssClamp, TheHeaderEndsWhereItSays) {
  for (const size_t words : {0u, 4u, 5u, 15u}) {  // too short, without options, longer than the packet
    Shape shape{.data_offset = words};
    Octets packet = ipv4(mss(1460), shape);
    if (words == 0) packet[32] = 0;
    EXPECT_EQ(clamped(packet), packet) << words;
  }
  Octets longer = ipv4(mss(1460));
  longer[3] = static_cast<uint8_t>(longer[3] - 2);  // IP ends within the option; link-layer padding follows
  EXPECT_EQ(clamped(longer), longer);
}

// Cut off anywhere, whatever the headers claim: nothing is read or written beyond (exact buffers, sanitizers).
TEST(MssClamp, ShortPacketsStay) {
  for (const Octets& whole : {ipv4(mss(1460)), ipv6(mss(1460))}) {
    for (size_t size = 0; size < whole.size(); ++size) {
      const Octets cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
      EXPECT_EQ(clamped(cut), cut) << size;
    }
  }
}

TEST(MssClamp, AnMtuWithoutRoomForASegmentIsNoLimit) {
  for (const int mtu : {0, 39, 40}) EXPECT_EQ(clamped(ipv4(mss(1460)), static_cast<uint16_t>(mtu)), ipv4(mss(1460)));
  EXPECT_EQ(clamped(ipv6(mss(1460)), 60), ipv6(mss(1460)));
}

}  // namespace
}  // namespace sluice
