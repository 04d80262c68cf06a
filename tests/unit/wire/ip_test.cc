#include "dataplane/wire/ip.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

namespace sluice {
namespace {

std::vector<std::byte> ipv4_packet(size_t total, size_t present) {
  std::vector<std::byte> packet(present);
  if (present > 3) {
    packet[0] = std::byte{0x45};
    packet[2] = static_cast<std::byte>(total >> 8);
    packet[3] = static_cast<std::byte>(total);
  }
  return packet;
}

std::vector<std::byte> ipv6_packet(size_t payload, size_t present) {
  std::vector<std::byte> packet(present);
  packet[0] = std::byte{0x60};
  packet[4] = static_cast<std::byte>(payload >> 8);
  packet[5] = static_cast<std::byte>(payload);
  return packet;
}

TEST(InnerLength, Ipv4) {
  EXPECT_EQ(inner_length(ipv4_packet(20, 20)), 20u);
  EXPECT_EQ(inner_length(ipv4_packet(61, 80)), 61u);
  EXPECT_EQ(inner_length(ipv4_packet(81, 80)), std::nullopt);
  EXPECT_EQ(inner_length(ipv4_packet(19, 80)), std::nullopt);
  EXPECT_EQ(inner_length(ipv4_packet(19, 19)), std::nullopt);
  EXPECT_EQ(inner_length({}), std::nullopt);
}

TEST(InnerLength, Ipv6DoesNotWrapAt16Bits) {
  EXPECT_EQ(inner_length(ipv6_packet(0, 40)), 40u);
  EXPECT_EQ(inner_length(ipv6_packet(1, 40)), std::nullopt);
  EXPECT_EQ(inner_length(ipv6_packet(0, 39)), std::nullopt);
  for (size_t payload : {65495, 65496, 65500, 65535}) EXPECT_EQ(inner_length(ipv6_packet(payload, 80)), std::nullopt);
}

TEST(InnerLength, OtherVersionsAreNone) {
  for (int version : {0, 5, 15}) {
    auto packet = ipv4_packet(40, 40);
    packet[0] = static_cast<std::byte>(version << 4 | 5);
    EXPECT_EQ(inner_length(packet), std::nullopt);
  }
}

TEST(Checksum, MatchesTheExampleOfRfc1071) {
  const unsigned char data[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  EXPECT_EQ(checksum_fold(checksum_add(std::as_bytes(std::span(data)))), static_cast<uint16_t>(~0xddf2));
}

// Word by word as RFC 1071 defines it, for every length, alignment and start.
TEST(Checksum, EqualsTheSumOfWords) {
  std::array<std::byte, 300> bytes;
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i < 64 ? 0xff : i * 151 + 7);
  for (const uint32_t start : {0u, 0xffffu, 0xfffffffeu, 0xffffffffu}) {
    for (size_t from = 0; from < 9; ++from) {
      for (size_t size = 0; from + size <= bytes.size(); ++size) {
        const auto part = std::span(bytes).subspan(from, size);
        uint64_t sum = static_cast<uint16_t>(~checksum_fold(start));
        for (size_t i = 0; i < size; ++i) sum += uint64_t{static_cast<uint8_t>(part[i])} << (i % 2 == 0 ? 8 : 0);
        while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
        ASSERT_EQ(checksum_fold(checksum_add(part, start)), static_cast<uint16_t>(~sum)) << from << " " << size;
      }
    }
  }
}

TEST(Checksum, AdjustEqualsRecomputation) {
  Ipv4Header header{};
  header.version_ihl = 0x45;
  header.ttl = 64;
  for (unsigned tos = 0; tos < 256; ++tos) {
    header.tos = 0;
    header.checksum = ipv4_header_checksum(header);
    const uint16_t adjusted = checksum_adjust(header.checksum.host(), 0x4500, static_cast<uint16_t>(0x4500 | tos));
    header.tos = static_cast<uint8_t>(tos);
    EXPECT_EQ(adjusted, ipv4_header_checksum(header));
  }
}

TEST(Checksum, OfOneHopLess) {
  for (uint32_t before = 0; before <= 0xffff; ++before) {
    const auto checksum = static_cast<uint16_t>(before);
    ASSERT_EQ(checksum_of_one_hop_less(checksum), checksum_adjust(checksum, 0x4011, 0x3f11)) << before;
  }
}

nlohmann::json small() {
  std::ifstream file(std::string(SLUICE_VECTORS) + "/small.json");
  return nlohmann::json::parse(file);
}

TEST(Padding, Vectors) {
  const auto vectors = small();
  for (const auto& v : vectors.at("padding").at("vectors"))
    EXPECT_EQ(padded_size(v.at("length"), v.at("mtu")), v.at("padded").get<size_t>()) << v;
}

}  // namespace
}  // namespace sluice
