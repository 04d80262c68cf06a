#include "dataplane/wire/ip.h"

#include <cstring>

namespace sluice {
namespace {

__extension__ typedef unsigned __int128 uint128;

}  // namespace

IpAddress source_of(ConstBytes packet) noexcept {
  if (version_of(packet) == Family::kIpv4)
    return IpAddress::ipv4(reinterpret_cast<const Ipv4Header*>(packet.data())->source.data());
  return IpAddress::ipv6(reinterpret_cast<const Ipv6Header*>(packet.data())->source.data());
}

IpAddress destination_of(ConstBytes packet) noexcept {
  if (version_of(packet) == Family::kIpv4)
    return IpAddress::ipv4(reinterpret_cast<const Ipv4Header*>(packet.data())->destination.data());
  return IpAddress::ipv6(reinterpret_cast<const Ipv6Header*>(packet.data())->destination.data());
}

std::optional<size_t> inner_length(ConstBytes plaintext) noexcept {
  size_t length = 0;
  switch (version_of(plaintext)) {
    case Family::kIpv4:
      if (plaintext.size() < sizeof(Ipv4Header)) return std::nullopt;
      length = reinterpret_cast<const Ipv4Header*>(plaintext.data())->total_length.host();
      if (length < sizeof(Ipv4Header)) return std::nullopt;
      break;
    case Family::kIpv6:
      if (plaintext.size() < sizeof(Ipv6Header)) return std::nullopt;
      length =
          size_t{reinterpret_cast<const Ipv6Header*>(plaintext.data())->payload_length.host()} + sizeof(Ipv6Header);
      break;
    case Family::kNone:
      return std::nullopt;
  }
  if (length > plaintext.size()) return std::nullopt;
  return length;
}

namespace {

bool is_link_local(const std::array<uint8_t, 16>& a) noexcept { return a[0] == 0xfe && (a[1] & 0xc0) == 0x80; }

}  // namespace

void embed_scope(std::array<uint8_t, 16>& address, uint32_t scope) noexcept {
  if (!is_link_local(address) || scope > UINT16_MAX) return;
  address[2] = static_cast<uint8_t>(scope >> 8);
  address[3] = static_cast<uint8_t>(scope);
}

uint32_t extract_scope(std::array<uint8_t, 16>& address) noexcept {
  if (!is_link_local(address)) return 0;
  const auto scope = static_cast<uint32_t>(address[2] << 8 | address[3]);
  address[2] = address[3] = 0;
  return scope;
}

uint32_t checksum_add(ConstBytes bytes, uint32_t sum) noexcept {
  // RFC 1071, section 2(B) and (C): sums of 16-bit words may be taken in any byte order and in any wider word, and two
  // of them side by side, so that neither waits for the other's carries.
  uint128 even = sum, odd = 0;
  const std::byte* p = bytes.data();
  size_t left = bytes.size();
  for (; left >= 16; p += 16, left -= 16) {
    uint64_t words[2];
    std::memcpy(words, p, sizeof words);
    even += words[0];
    odd += words[1];
  }
  if (left != 0) {
    uint64_t words[2]{};
    std::memcpy(words, p, left);
    even += words[0];
    odd += words[1];
  }
  even += odd;
  even = static_cast<uint64_t>(even) + (even >> 64);                                // less than 2^65
  uint64_t wide = static_cast<uint64_t>(even >> 32) + static_cast<uint32_t>(even);  // less than 2^34
  wide = (wide & 0xffffffff) + (wide >> 32);
  return static_cast<uint32_t>((wide & 0xffffffff) + (wide >> 32));
}

uint16_t checksum_fold(uint32_t sum) noexcept {
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return __builtin_bswap16(static_cast<uint16_t>(~sum));
}

uint16_t ipv4_header_checksum(const Ipv4Header& header) noexcept {
  Ipv4Header copy = header;
  copy.checksum = 0;
  const auto* options = reinterpret_cast<const std::byte*>(&header) + sizeof header;
  const size_t options_size = header.header_size() > sizeof header ? header.header_size() - sizeof header : 0;
  return checksum_fold(checksum_add({options, options_size}, checksum_add(std::as_bytes(std::span(&copy, 1)))));
}

uint16_t checksum_adjust(uint16_t checksum, uint16_t old_word, uint16_t new_word) noexcept {
  uint32_t sum = static_cast<uint16_t>(~checksum) + uint32_t{static_cast<uint16_t>(~old_word)} + new_word;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

uint16_t transport_checksum(const IpAddress& source, const IpAddress& destination, uint8_t protocol,
                            ConstBytes l4) noexcept {
  struct {
    be32 length;
    be32 protocol;
  } tail{be32(static_cast<uint32_t>(l4.size())), be32(protocol)};
  // The IPv4 pseudo header has the same sum as this one: its fields are narrower, but the words are the same.
  uint32_t sum = checksum_add(std::as_bytes(std::span(source.bytes.data(), source.size())));
  sum = checksum_add(std::as_bytes(std::span(destination.bytes.data(), destination.size())), sum);
  sum = checksum_add(std::as_bytes(std::span(&tail, 1)), sum);
  return checksum_fold(checksum_add(l4, sum));
}

uint8_t ecn_of(ConstBytes packet) noexcept {
  if (version_of(packet) == Family::kIpv4) return static_cast<uint8_t>(packet[1]) & kEcnMask;
  return (static_cast<uint8_t>(packet[1]) >> 4) & kEcnMask;
}

uint8_t traffic_class_of(ConstBytes packet) noexcept {
  const auto first = static_cast<uint8_t>(packet[0]), second = static_cast<uint8_t>(packet[1]);
  return first >> 4 == 4 ? second : static_cast<uint8_t>(first << 4 | second >> 4);
}

void set_ecn(Bytes packet, uint8_t ecn) noexcept {
  if (version_of(packet) == Family::kIpv4) {
    auto* ip = reinterpret_cast<Ipv4Header*>(packet.data());
    const auto before = static_cast<uint16_t>(ip->version_ihl << 8 | ip->tos);
    ip->tos = static_cast<uint8_t>((ip->tos & ~kEcnMask) | ecn);
    const auto after = static_cast<uint16_t>(ip->version_ihl << 8 | ip->tos);
    ip->checksum = checksum_adjust(ip->checksum.host(), before, after);
  } else {
    const auto low = static_cast<uint8_t>(packet[1]);
    packet[1] = static_cast<std::byte>((low & 0xcf) | (ecn << 4));
  }
}

}  // namespace sluice
