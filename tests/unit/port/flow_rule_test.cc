// What a driver is given for a rule, byte by byte, and which frames that matches.
#include "dataplane/port/flow_rule.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "dataplane/wire/messages.h"
#include "tests/support/packet_builder.h"

namespace sluice {
namespace {

using test::Octets;
using test::PacketBuilder;

std::vector<rte_flow_item_type> types_of(const FlowRule& rule) {
  std::vector<rte_flow_item_type> types;
  const rte_flow_item* item = rule.pattern();
  do {
    types.push_back(item->type);
    EXPECT_EQ(item->last, nullptr) << "a range";
  } while ((item++)->type != RTE_FLOW_ITEM_TYPE_END);
  return types;
}

std::vector<int> bytes_of(const rte_flow_item_raw& raw) { return {raw.pattern, raw.pattern + raw.length}; }
std::string text_of(const rte_flow_item_raw& raw) { return reinterpret_cast<const char*>(raw.pattern); }

template <class Spec>
const Spec& spec_of(const rte_flow_item& item) {
  return *static_cast<const Spec*>(item.spec);
}
template <class Spec>
const Spec& mask_of(const rte_flow_item& item) {
  return *static_cast<const Spec*>(item.mask);
}

const SteeringRule kRule{Family::kIpv4, 51820, 5, 7, 2};
// Of a frame that it matches, in digits: ports, length, no checksum; the message's type and index.
const std::string kUdpAndPayload =
    "0000"
    "ca6c"
    "0010"
    "0000"
    "04000000"
    "05000000";

void expect_ingress_to_queue(const FlowRule& rule, uint16_t queue) {
  const rte_flow_attr& attributes = *rule.attributes();
  EXPECT_EQ(attributes.ingress, 1u);
  EXPECT_EQ(attributes.egress + attributes.transfer + attributes.group + attributes.priority, 0u);
  EXPECT_EQ(rule.actions()[0].type, RTE_FLOW_ACTION_TYPE_QUEUE);
  EXPECT_EQ(static_cast<const rte_flow_action_queue*>(rule.actions()[0].conf)->index, queue);
  EXPECT_EQ(rule.actions()[1].type, RTE_FLOW_ACTION_TYPE_END);
}

TEST(FlowRule, HeadersAndThePayloadBehindThem) {
  const FlowRule rule(kRule, RawForm::kPayload);
  expect_ingress_to_queue(rule, 2);
  EXPECT_EQ(types_of(rule), (std::vector{RTE_FLOW_ITEM_TYPE_ETH, RTE_FLOW_ITEM_TYPE_IPV4, RTE_FLOW_ITEM_TYPE_UDP,
                                         RTE_FLOW_ITEM_TYPE_RAW, RTE_FLOW_ITEM_TYPE_END}));
  for (const int i : {0, 1}) {
    EXPECT_EQ(rule.pattern()[i].spec, nullptr) << "net_i40e takes none";
    EXPECT_EQ(rule.pattern()[i].mask, nullptr);
  }
  const auto& udp = spec_of<rte_flow_item_udp>(rule.pattern()[2]).hdr;
  const auto& udp_mask = mask_of<rte_flow_item_udp>(rule.pattern()[2]).hdr;
  EXPECT_EQ(udp.dst_port, RTE_BE16(51820));
  EXPECT_EQ(udp_mask.dst_port, 0xffff);
  EXPECT_EQ(udp_mask.src_port + udp_mask.dgram_len + udp_mask.dgram_cksum, 0);

  const auto& raw = spec_of<rte_flow_item_raw>(rule.pattern()[3]);
  const auto& raw_mask = mask_of<rte_flow_item_raw>(rule.pattern()[3]);
  EXPECT_EQ(raw.relative, 1u);
  EXPECT_EQ(raw.search + raw.reserved + raw.limit, 0u);
  EXPECT_EQ(raw.offset, 0);
  EXPECT_EQ(bytes_of(raw), (std::vector{4, 0, 0, 0, 5, 0, 0, 0}));
  EXPECT_EQ(bytes_of(raw_mask), (std::vector{255, 255, 255, 255, 7, 0, 0, 0}));
}

TEST(FlowRule, Ipv6DiffersInItsHeaderAlone) {
  SteeringRule wanted = kRule;
  wanted.family = Family::kIpv6;
  const FlowRule rule(wanted, RawForm::kPayload);
  EXPECT_EQ(types_of(rule), (std::vector{RTE_FLOW_ITEM_TYPE_ETH, RTE_FLOW_ITEM_TYPE_IPV6, RTE_FLOW_ITEM_TYPE_UDP,
                                         RTE_FLOW_ITEM_TYPE_RAW, RTE_FLOW_ITEM_TYPE_END}));
}

TEST(FlowRule, AFrameInHexadecimalDigits) {
  const FlowRule rule(kRule, RawForm::kFrameAsText);
  expect_ingress_to_queue(rule, 2);
  EXPECT_EQ(types_of(rule), (std::vector{RTE_FLOW_ITEM_TYPE_RAW, RTE_FLOW_ITEM_TYPE_END}));
  const auto& raw = spec_of<rte_flow_item_raw>(rule.pattern()[0]);
  const auto& raw_mask = mask_of<rte_flow_item_raw>(rule.pattern()[0]);
  EXPECT_EQ(raw.relative + raw.search + raw.offset + raw.limit, 0u);
  EXPECT_EQ(text_of(raw),
            "000000000000"
            "000000000000"
            "0800"
            "45000024"
            "00000000"
            "40110000"
            "00000000"
            "00000000" +
                kUdpAndPayload);
  EXPECT_EQ(text_of(raw_mask),
            "000000000000"
            "000000000000"
            "0000"
            "00000000"
            "00000000"
            "00000000"
            "00000000"
            "00000000"
            "0000"
            "ffff"
            "0000"
            "0000"
            "ffffffff"
            "07000000");
  EXPECT_EQ(raw.length, text_of(raw).size());
  EXPECT_EQ(raw_mask.length, raw.length) << "net_ice wants them equal";
}

TEST(FlowRule, AnIpv6FrameInHexadecimalDigits) {
  SteeringRule wanted = kRule;
  wanted.family = Family::kIpv6;
  const FlowRule rule(wanted, RawForm::kFrameAsText);
  const std::string none(64, '0');
  EXPECT_EQ(text_of(spec_of<rte_flow_item_raw>(rule.pattern()[0])),
            "000000000000"
            "000000000000"
            "86dd"
            "60000000"
            "0010"
            "11"
            "40" +
                none + kUdpAndPayload);
}

TEST(FlowRule, TheFormIsTheDrivers) {
  EXPECT_EQ(raw_form_of("net_ice"), RawForm::kFrameAsText);
  EXPECT_EQ(raw_form_of("net_iavf"), RawForm::kFrameAsText);
  EXPECT_EQ(raw_form_of("net_i40e"), RawForm::kPayload);
  EXPECT_EQ(raw_form_of("net_tap"), RawForm::kPayload);
}

// An interpreter of what a rule says: of the frames that reach it, those that the items match.

const size_t kIpv4Payload = 14 + 20 + 8, kIpv6Payload = 14 + 40 + 8;

bool agree(std::span<const std::byte> frame, size_t at, const std::vector<int>& bytes, const std::vector<int>& mask) {
  if (frame.size() < at + bytes.size()) return false;
  for (size_t i = 0; i < bytes.size(); ++i)
    if (((std::to_integer<int>(frame[at + i]) ^ bytes[i]) & mask[i]) != 0) return false;
  return true;
}

std::vector<int> decoded(const std::string& digits) {
  std::vector<int> bytes;
  for (size_t i = 0; i < digits.size(); i += 2) bytes.push_back(std::stoi(digits.substr(i, 2), nullptr, 16));
  return bytes;
}

// UDP over the family of the rule: what the NIC's parser has found out before it compares.
bool takes(const FlowRule& rule, RawForm form, Family family, const Octets& frame) {
  const auto type = std::to_integer<int>(frame[12]) << 8 | std::to_integer<int>(frame[13]);
  const bool ipv4 = family == Family::kIpv4;
  if (type != (ipv4 ? 0x0800 : 0x86dd) || std::to_integer<int>(frame[ipv4 ? 23 : 20]) != 17) return false;
  if (form == RawForm::kFrameAsText) {
    const auto& item = rule.pattern()[0];
    return agree(frame, 0, decoded(text_of(spec_of<rte_flow_item_raw>(item))),
                 decoded(text_of(mask_of<rte_flow_item_raw>(item))));
  }
  const size_t payload = ipv4 ? kIpv4Payload : kIpv6Payload;
  const auto& port = spec_of<rte_flow_item_udp>(rule.pattern()[2]).hdr.dst_port;
  const auto& item = rule.pattern()[3];
  return std::memcmp(&frame[payload - 6], &port, sizeof port) == 0 &&
         agree(frame, payload, bytes_of(spec_of<rte_flow_item_raw>(item)), bytes_of(mask_of<rte_flow_item_raw>(item)));
}

Octets message(uint32_t type, uint32_t index) {
  Octets bytes(32);
  const DataHeader header{le32(type), le32(index), le64(uint64_t{1})};
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

Octets over(Family family, const Octets& payload, uint16_t port = 51820) {
  PacketBuilder packet(payload);
  packet.udp(4711, port);
  if (family == Family::kIpv4) return packet.ipv4("192.0.2.7", "198.51.100.1").ethernet(Mac{}, Mac{});
  return packet.ipv6("2001:db8::7", "2001:db8:ffff::1").ethernet(Mac{}, Mac{});
}

TEST(FlowRule, MatchesDataMessagesOfItsIndexBitsFamilyAndPort) {
  for (const RawForm form : {RawForm::kPayload, RawForm::kFrameAsText}) {
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      const Family other = family == Family::kIpv4 ? Family::kIpv6 : Family::kIpv4;
      const FlowRule rule({family, 51820, 5, 7, 2}, form);
      const auto matches = [&](const Octets& frame) { return takes(rule, form, family, frame); };
      EXPECT_TRUE(matches(over(family, message(4, 5))));
      EXPECT_TRUE(matches(over(family, message(4, 0xfffffffd))));
      EXPECT_FALSE(matches(over(family, message(4, 4))));
      EXPECT_FALSE(matches(over(family, message(4, 0x05000000)))) << "the index is little endian";
      for (const uint32_t type : {1u, 2u, 3u, 0x104u}) EXPECT_FALSE(matches(over(family, message(type, 5))));
      EXPECT_FALSE(matches(over(family, message(4, 5), 51821)));
      EXPECT_FALSE(matches(over(other, message(4, 5))));
    }
  }
}

}  // namespace
}  // namespace sluice
