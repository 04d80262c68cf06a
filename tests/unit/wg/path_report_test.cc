// ICMP about outer packets: what is believed, and that anything less is not.
#include "control/wg/path_report.h"

#include <gtest/gtest.h>

#include <cstring>

#include "dataplane/wire/ip.h"
#include "tests/support/packet_builder.h"

namespace sluice::test {
namespace {

constexpr const char *kUs = "198.51.100.1", *kX = "198.51.100.2", *kRouter = "203.0.113.1";
constexpr const char *kUs6 = "2001:db8::1", *kX6 = "2001:db8::2", *kRouter6 = "2001:db8:9::1";

Octets data_of_size(size_t outer, bool ipv4) {
  Octets message(outer - (ipv4 ? 28 : 48));
  const DataHeader header{.type = le32(4), .receiver_index = le32(0xabcd1234), .counter = le64(77)};
  std::memcpy(message.data(), &header, sizeof header);
  PacketBuilder builder(message);
  builder.udp(51820, 4444);
  return ipv4 ? builder.ipv4(kUs, kX).build() : builder.ipv6(kUs6, kX6).build();
}

Octets quoted(Octets packet, size_t size) {
  packet.resize(std::min(packet.size(), size));
  return packet;
}

Octets icmp4(const Octets& quote, uint16_t mtu, uint8_t type = 3, uint8_t code = 4) {
  Octets icmp{std::byte{type},
              std::byte{code},
              std::byte{0},
              std::byte{0},
              std::byte{0},
              std::byte{0},
              static_cast<std::byte>(mtu >> 8),
              static_cast<std::byte>(mtu)};
  icmp.insert(icmp.end(), quote.begin(), quote.end());
  const be16 sum(checksum_fold(checksum_add(icmp)));
  std::memcpy(icmp.data() + 2, &sum, 2);
  return PacketBuilder(icmp).ipv4(kRouter, kUs, {.protocol = 1});
}

Octets icmp6(const Octets& quote, uint32_t mtu, uint8_t type = 2) {
  Octets icmp(8);
  icmp[0] = std::byte{type};
  const be32 value(mtu);
  std::memcpy(icmp.data() + 4, &value, 4);
  icmp.insert(icmp.end(), quote.begin(), quote.end());
  const be16 sum(transport_checksum(*parse_address(kRouter6), *parse_address(kUs6), kProtocolIcmpv6, icmp));
  std::memcpy(icmp.data() + 2, &sum, 2);
  return PacketBuilder(icmp).ipv6(kRouter6, kUs6, {.next_header = 58});
}

TEST(PathReport, SaysWhichMessageDidNotPass) {
  for (const bool ipv4 : {true, false}) {
    const Octets packet = ipv4 ? icmp4(quoted(data_of_size(1500, true), 548), 1400)
                               : icmp6(quoted(data_of_size(1500, false), 1232), 1400);
    const auto report = parse_path_report(packet);
    ASSERT_TRUE(report) << ipv4;
    EXPECT_EQ(report->remote.address, *parse_address(ipv4 ? kX : kX6));
    EXPECT_EQ(report->remote.port, 4444);
    EXPECT_EQ(report->local, *parse_address(ipv4 ? kUs : kUs6));
    EXPECT_EQ(report->local_port, 51820);
    EXPECT_EQ(report->mtu, 1400);
    EXPECT_EQ(report->receiver_index, 0xabcd1234u);
    EXPECT_EQ(report->counter, 77u);
  }
}

TEST(PathReport, QuotesTooShortToProveAnythingAreNotBelieved) {
  const Octets sent = data_of_size(1500, true), sent6 = data_of_size(1500, false);
  for (size_t size = 0; size < 20 + 8 + 16; ++size) EXPECT_FALSE(parse_path_report(icmp4(quoted(sent, size), 1400)));
  EXPECT_TRUE(parse_path_report(icmp4(quoted(sent, 20 + 8 + 16), 1400)));
  for (size_t size = 0; size < 40 + 8 + 16; ++size) EXPECT_FALSE(parse_path_report(icmp6(quoted(sent6, size), 1400)));
  EXPECT_TRUE(parse_path_report(icmp6(quoted(sent6, 40 + 8 + 16), 1400)));
}

TEST(PathReport, AFirstFragmentOverIpv6IsAMessageToo) {
  const Octets whole = data_of_size(1400, false);
  const Octets header{std::byte{17}, std::byte{0}, std::byte{0}, std::byte{1},
                      std::byte{0},  std::byte{0}, std::byte{0}, std::byte{9}};
  const auto fragment = [&](uint8_t offset) {
    Octets with = header;
    with[2] = std::byte{offset};
    return PacketBuilder(Octets(whole.begin() + 40, whole.end()))
        .prepend(with)
        .ipv6(kUs6, kX6, {.next_header = kProtocolIpv6Fragment})
        .build();
  };
  EXPECT_TRUE(parse_path_report(icmp6(quoted(fragment(0), 1000), 1280)));
  EXPECT_FALSE(parse_path_report(icmp6(quoted(fragment(1), 1000), 1280)));
}

TEST(PathReport, WhatWouldHavePassedIsNotBelieved) {
  EXPECT_FALSE(parse_path_report(icmp4(data_of_size(1400, true), 1400)));
  EXPECT_TRUE(parse_path_report(icmp4(data_of_size(1401, true), 1400)));
  EXPECT_FALSE(parse_path_report(icmp6(data_of_size(1400, false), 1400)));
  EXPECT_FALSE(parse_path_report(icmp6(data_of_size(1400, false), 70000)));  // more than 16 bits
}

TEST(PathReport, OtherMessagesAreNone) {
  const Octets sent = data_of_size(1500, true);
  EXPECT_FALSE(parse_path_report(icmp4(sent, 1400, 3, 3)));
  EXPECT_FALSE(parse_path_report(icmp4(sent, 1400, 11, 4)));
  EXPECT_FALSE(parse_path_report(icmp6(data_of_size(1500, false), 1400, 1)));
  EXPECT_FALSE(parse_path_report(icmp4(PacketBuilder(1400).ipv4(kUs, kX, {.protocol = 6}), 1400)));
  Octets handshake = sent;
  handshake[28] = std::byte{1};
  EXPECT_FALSE(parse_path_report(icmp4(handshake, 1400)));
  Octets corrupt = icmp4(sent, 1400);
  corrupt[40] ^= std::byte{1};
  EXPECT_FALSE(parse_path_report(corrupt));
  EXPECT_FALSE(parse_path_report({}));
  EXPECT_FALSE(parse_path_report(sent));
}

}  // namespace
}  // namespace sluice::test
