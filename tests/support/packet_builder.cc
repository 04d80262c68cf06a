#include "tests/support/packet_builder.h"

#include <cstring>
#include <stdexcept>
#include <string>

#include "dataplane/crypto/primitives.h"
#include "dataplane/wire/ip.h"
#include "dataplane/wire/messages.h"

namespace sluice::test {
namespace {

IpAddress address(std::string_view text) {
  const auto parsed = parse_address(text);
  if (!parsed) throw std::invalid_argument("not an address: " + std::string(text));
  return *parsed;
}

template <class Header>
Octets as_octets(const Header& header) {
  Octets bytes(sizeof header);
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

Octets counting(size_t size) {
  Octets bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i);
  return bytes;
}

}  // namespace

PacketBuilder::PacketBuilder(size_t payload_size) : bytes_(counting(payload_size)) {}

PacketBuilder& PacketBuilder::prepend(const Octets& bytes) {
  bytes_.insert(bytes_.begin(), bytes.begin(), bytes.end());
  return *this;
}

PacketBuilder& PacketBuilder::udp(uint16_t source_port, uint16_t destination_port, UdpFields fields) {
  UdpHeader header{};
  header.source_port = source_port;
  header.destination_port = destination_port;
  header.length = fields.length.value_or(static_cast<uint16_t>(bytes_.size() + sizeof header));
  header.checksum = fields.checksum.value_or(0);
  udp_checksum_due_ = !fields.checksum;
  return prepend(as_octets(header));
}

void PacketBuilder::finish_udp(const IpAddress& source, const IpAddress& destination) {
  if (!udp_checksum_due_) return;
  udp_checksum_due_ = false;
  auto* header = reinterpret_cast<UdpHeader*>(bytes_.data());
  const size_t length = std::min<size_t>(header->length.host(), bytes_.size());
  const uint16_t sum = transport_checksum(source, destination, kProtocolUdp, ConstBytes(bytes_).first(length));
  header->checksum = sum != 0 ? sum : 0xffff;
}

PacketBuilder& PacketBuilder::ipv4(std::string_view source, std::string_view destination, Ipv4Fields fields) {
  const IpAddress from = address(source), to = address(destination);
  finish_udp(from, to);
  Ipv4Header header{};
  const size_t header_size = sizeof header + fields.options_size;
  header.version_ihl = static_cast<uint8_t>(0x40 | header_size / 4);
  header.tos = fields.tos;
  header.total_length = fields.total_length.value_or(static_cast<uint16_t>(header_size + bytes_.size()));
  header.id = 0x1234;
  header.flags_fragment = static_cast<uint16_t>((fields.dont_fragment ? 0x4000 : 0) |
                                                (fields.more_fragments ? 0x2000 : 0) | fields.offset / 8);
  header.ttl = fields.ttl;
  header.protocol = fields.protocol;
  std::memcpy(header.source.data(), from.bytes.data(), 4);
  std::memcpy(header.destination.data(), to.bytes.data(), 4);
  prepend(Octets(fields.options_size, std::byte{1}));
  prepend(as_octets(header));
  auto* ip = reinterpret_cast<Ipv4Header*>(bytes_.data());
  ip->checksum = fields.checksum.value_or(ipv4_header_checksum(*ip));
  return *this;
}

PacketBuilder& PacketBuilder::ipv6(std::string_view source, std::string_view destination, Ipv6Fields fields) {
  const IpAddress from = address(source), to = address(destination);
  finish_udp(from, to);
  Ipv6Header header{};
  header.version_class_flow = uint32_t{6} << 28 | uint32_t{fields.traffic_class} << 20;
  header.payload_length = fields.payload_length.value_or(static_cast<uint16_t>(bytes_.size()));
  header.next_header = fields.next_header;
  header.hop_limit = fields.hop_limit;
  header.source = from.bytes;
  header.destination = to.bytes;
  return prepend(as_octets(header));
}

PacketBuilder& PacketBuilder::ethernet(const Mac& to, const Mac& from, std::optional<uint16_t> type) {
  EthernetHeader header{};
  header.destination = to.bytes;
  header.source = from.bytes;
  header.ether_type = type.value_or(version_of(bytes_) == Family::kIpv6 ? kEtherTypeIpv6 : kEtherTypeIpv4);
  return prepend(as_octets(header));
}

PacketBuilder& PacketBuilder::pad_to(size_t size) {
  if (bytes_.size() < size) bytes_.resize(size, std::byte{0xee});
  return *this;
}

Octets tcp_syn(uint16_t mss, std::string_view from, std::string_view to, uint8_t ttl) {
  Octets tcp(24);
  tcp[12] = std::byte{0x60};  // header of six words
  tcp[13] = std::byte{0x02};  // SYN
  tcp[20] = std::byte{2};     // maximum segment size
  tcp[21] = std::byte{4};
  tcp[22] = static_cast<std::byte>(mss >> 8);
  tcp[23] = static_cast<std::byte>(mss);
  const uint16_t sum = transport_checksum(*parse_address(from), *parse_address(to), kProtocolTcp, tcp);
  tcp[16] = static_cast<std::byte>(sum >> 8);
  tcp[17] = static_cast<std::byte>(sum);
  return PacketBuilder(tcp).ipv4(from, to, {.ttl = ttl, .protocol = kProtocolTcp});
}

Octets data_message(const Secret<32>& key, uint32_t receiver_index, uint64_t counter, const Octets& plaintext) {
  DataHeader header;
  header.type = static_cast<uint32_t>(MessageType::kData);
  header.receiver_index = receiver_index;
  header.counter = counter;
  Octets message = as_octets(header);
  message.resize(sizeof header + plaintext.size() + kTagSize);
  aead_seal(key, counter, plaintext, {}, Bytes(message).subspan(sizeof header));
  return message;
}

std::optional<Octets> open_data_message(const Secret<32>& key, std::span<const std::byte> message) {
  if (classify(message) != MessageType::kData) return std::nullopt;
  const auto& header = *reinterpret_cast<const DataHeader*>(message.data());
  Octets plaintext(message.size() - kDataOverhead);
  if (!aead_open(key, header.counter.host(), message.subspan(sizeof header), {}, plaintext)) return std::nullopt;
  return plaintext;
}

std::string hex(std::span<const std::byte> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte b : bytes) {
    text += kDigits[static_cast<unsigned>(b) >> 4];
    text += kDigits[static_cast<unsigned>(b) & 15];
  }
  return text;
}

}  // namespace sluice::test
