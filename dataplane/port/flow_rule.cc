#include "dataplane/port/flow_rule.h"

#include <cstring>
#include <span>

#include "dataplane/wire/ip.h"
#include "dataplane/wire/messages.h"

namespace sluice {
namespace {

// What a rule looks at in a data message, and the frame around it: as it should be, or which bits of it matter.
struct Payload {
  le32 type, receiver_index;
};
struct Ipv4Frame {
  EthernetHeader ethernet;
  Ipv4Header ip;
  UdpHeader udp;
  Payload payload;
};
struct Ipv6Frame {
  EthernetHeader ethernet;
  Ipv6Header ip;
  UdpHeader udp;
  Payload payload;
};

template <class Struct>
std::span<const uint8_t> octets_of(const Struct& object) {
  static_assert(alignof(Struct) == 1, "no padding");
  return {reinterpret_cast<const uint8_t*>(&object), sizeof object};
}

std::string digits(std::span<const uint8_t> octets) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t octet : octets) {
    text += kDigits[octet >> 4];
    text += kDigits[octet & 0xf];
  }
  return text;
}

Payload payload_of(const SteeringRule& rule) {
  return {le32(static_cast<uint32_t>(MessageType::kData)), le32(rule.index)};
}
Payload payload_mask(const SteeringRule& rule) { return {le32(~uint32_t{0}), le32(rule.index_mask)}; }

// As much of the headers as it takes to tell what they are.
template <class Frame>
Frame frame_of(const SteeringRule& rule) {
  Frame frame{};
  if constexpr (std::is_same_v<Frame, Ipv4Frame>) {
    frame.ethernet.ether_type = kEtherTypeIpv4;
    frame.ip.version_ihl = 0x45;
    frame.ip.total_length = static_cast<uint16_t>(sizeof frame - sizeof frame.ethernet);
    frame.ip.ttl = kDefaultHopLimit;
    frame.ip.protocol = kProtocolUdp;
  } else {
    frame.ethernet.ether_type = kEtherTypeIpv6;
    frame.ip.version_class_flow = 6u << 28;
    frame.ip.payload_length = static_cast<uint16_t>(sizeof frame.udp + sizeof frame.payload);
    frame.ip.next_header = kProtocolUdp;
    frame.ip.hop_limit = kDefaultHopLimit;
  }
  frame.udp.destination_port = rule.listen_port;
  frame.udp.length = static_cast<uint16_t>(sizeof frame.udp + sizeof frame.payload);
  frame.payload = payload_of(rule);
  return frame;
}
template <class Frame>
Frame frame_mask(const SteeringRule& rule) {
  Frame mask{};
  mask.udp.destination_port = uint16_t{0xffff};
  mask.payload = payload_mask(rule);
  return mask;
}

}  // namespace

RawForm raw_form_of(std::string_view driver) noexcept {
  return driver == "net_ice" || driver == "net_iavf" ? RawForm::kFrameAsText : RawForm::kPayload;
}

FlowRule::FlowRule(const SteeringRule& rule, RawForm form) {
  attributes_.ingress = 1;
  queue_.index = rule.queue;
  actions_ = {{{RTE_FLOW_ACTION_TYPE_QUEUE, &queue_}, {RTE_FLOW_ACTION_TYPE_END, nullptr}}};
  form == RawForm::kPayload ? match_payload(rule) : match_frame(rule);
  raw_.pattern = reinterpret_cast<const uint8_t*>(bytes_.data());
  raw_mask_.pattern = reinterpret_cast<const uint8_t*>(bytes_mask_.data());
  raw_.length = static_cast<uint16_t>(bytes_.size());
  raw_mask_.length = raw_.length;
}

void FlowRule::match_payload(const SteeringRule& rule) {
  const auto ip = rule.family == Family::kIpv4 ? RTE_FLOW_ITEM_TYPE_IPV4 : RTE_FLOW_ITEM_TYPE_IPV6;
  udp_.hdr.dst_port = rte_cpu_to_be_16(rule.listen_port);
  udp_mask_.hdr.dst_port = 0xffff;
  raw_.relative = 1;
  raw_mask_.relative = 1;
  raw_mask_.search = 1;
  raw_mask_.offset = -1;
  raw_mask_.limit = 0xffff;
  const auto text = [](std::span<const uint8_t> octets) { return std::string(octets.begin(), octets.end()); };
  bytes_ = text(octets_of(payload_of(rule)));
  bytes_mask_ = text(octets_of(payload_mask(rule)));
  pattern_ = {{{.type = RTE_FLOW_ITEM_TYPE_ETH, .spec = nullptr, .last = nullptr, .mask = nullptr},
               {.type = ip, .spec = nullptr, .last = nullptr, .mask = nullptr},
               {.type = RTE_FLOW_ITEM_TYPE_UDP, .spec = &udp_, .last = nullptr, .mask = &udp_mask_},
               {.type = RTE_FLOW_ITEM_TYPE_RAW, .spec = &raw_, .last = nullptr, .mask = &raw_mask_},
               {.type = RTE_FLOW_ITEM_TYPE_END, .spec = nullptr, .last = nullptr, .mask = nullptr}}};
}

void FlowRule::match_frame(const SteeringRule& rule) {
  const bool ipv4 = rule.family == Family::kIpv4;
  bytes_ = ipv4 ? digits(octets_of(frame_of<Ipv4Frame>(rule))) : digits(octets_of(frame_of<Ipv6Frame>(rule)));
  bytes_mask_ = ipv4 ? digits(octets_of(frame_mask<Ipv4Frame>(rule))) : digits(octets_of(frame_mask<Ipv6Frame>(rule)));
  pattern_[0] = {.type = RTE_FLOW_ITEM_TYPE_RAW, .spec = &raw_, .last = nullptr, .mask = &raw_mask_};
  pattern_[1] = {.type = RTE_FLOW_ITEM_TYPE_END, .spec = nullptr, .last = nullptr, .mask = nullptr};
}

}  // namespace sluice
