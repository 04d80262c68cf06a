// Datagrams to one of our listen ports come one after another: what was asked of the last one's destination need not be
// asked of the next.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "dataplane/wire/ip.h"

namespace sluice {

// What the IP and UDP headers of a datagram say of the socket of ours that it goes to, and that it has neither options
// nor was in fragments: as words, of which those bits are compared.
template <class IpHeader>
class LastSocket {
 public:
  static constexpr size_t kHeaders = sizeof(IpHeader) + sizeof(UdpHeader);  // so long is a packet at least

  bool is_of(const std::byte* packet) const noexcept {
    uint64_t difference = 0;
#pragma GCC unroll 6
    for (size_t i = 0; i < kWords; ++i)
      if (kMask[i] != 0) difference |= word(packet, i) ^ known_[i];
    return difference == 0;
  }
  void remember(const std::byte* packet) noexcept {
    for (size_t i = 0; i < kWords; ++i) known_[i] = word(packet, i);
  }

 private:
  static constexpr size_t kWords = kHeaders / sizeof(uint64_t);  // up to the ports
  using Words = std::array<uint64_t, kWords>;

  static constexpr Words mask() noexcept {
    std::array<uint8_t, sizeof(Words)> bytes{};
    const auto compare = [&](size_t at, size_t size) { std::fill_n(bytes.begin() + at, size, uint8_t{0xff}); };
    if constexpr (sizeof(IpHeader) == sizeof(Ipv4Header)) {
      compare(offsetof(Ipv4Header, version_ihl), sizeof Ipv4Header::version_ihl);
      compare(offsetof(Ipv4Header, flags_fragment), sizeof Ipv4Header::flags_fragment);
      bytes[offsetof(Ipv4Header, flags_fragment)] = 0xbf;  // not Don't Fragment
      compare(offsetof(Ipv4Header, protocol), sizeof Ipv4Header::protocol);
    } else {
      bytes[offsetof(Ipv6Header, version_class_flow)] = 0xf0;
      compare(offsetof(Ipv6Header, next_header), sizeof Ipv6Header::next_header);
    }
    compare(offsetof(IpHeader, destination), sizeof IpHeader::destination);
    compare(sizeof(IpHeader) + offsetof(UdpHeader, destination_port), sizeof UdpHeader::destination_port);
    return std::bit_cast<Words>(bytes);
  }
  static constexpr Words kMask = mask();
  static uint64_t word(const std::byte* packet, size_t i) noexcept {
    uint64_t word;
    std::memcpy(&word, packet + i * sizeof word, sizeof word);
    return word & kMask[i];
  }

  Words known_{};  // zeros: none yet, no header has that version
};

}  // namespace sluice
