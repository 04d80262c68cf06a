#include <algorithm>
#include <cstring>

#include "dataplane/wire/super_frame.h"
#include "dataplane/wire/tcp.h"

namespace sluice {
namespace {

uint32_t add_number(uint32_t number, uint32_t sum) noexcept {
  const be32 wire(number);
  return checksum_add(std::as_bytes(std::span(&wire, 1)), sum);
}

// The pseudo header without its length.
uint32_t pseudo_sum(ConstBytes packet, uint8_t protocol) noexcept {
  const bool ipv4 = version_of(packet) == Family::kIpv4;
  return add_number(protocol, checksum_add(ipv4 ? packet.subspan(12, 8) : packet.subspan(8, 32)));
}

struct Headers {
  uint8_t protocol = 0;
  size_t l4_offset = 0, size = 0;  // IP; IP and transport
};

// Of a packet to be cut: where its transport header lies according to `l4_offset`, which the kernel gives, so that
// extension headers need not be walked. nullopt: it does not fit.
std::optional<Headers> headers_of(ConstBytes packet, uint8_t protocol, size_t l4_offset) noexcept {
  const Family family = version_of(packet);
  const size_t least = family == Family::kIpv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
  const size_t l4_least = protocol == kProtocolTcp ? sizeof(TcpHeader) : sizeof(UdpHeader);
  if (family == Family::kNone || l4_offset < least || l4_offset + l4_least > packet.size()) return std::nullopt;
  if (family == Family::kIpv4) {
    const auto* ip = reinterpret_cast<const Ipv4Header*>(packet.data());
    if (ip->header_size() != l4_offset || ip->protocol != protocol || ip->is_fragment()) return std::nullopt;
  }
  size_t l4_size = sizeof(UdpHeader);
  if (protocol == kProtocolTcp) l4_size = reinterpret_cast<const TcpHeader*>(packet.data() + l4_offset)->header_size();
  if (l4_size < l4_least || l4_offset + l4_size >= packet.size()) return std::nullopt;
  return Headers{protocol, l4_offset, l4_offset + l4_size};
}

bool matches(uint8_t type, Family family) noexcept {
  switch (type & ~VnetHeader::kEcn) {
    case VnetHeader::kTcpIpv4:
      return family == Family::kIpv4;
    case VnetHeader::kTcpIpv6:
      return family == Family::kIpv6;
    default:
      return type == VnetHeader::kUdp && family != Family::kNone;
  }
}

}  // namespace

bool complete_checksum(const VnetHeader& header, Bytes packet) noexcept {
  if ((header.flags & VnetHeader::kNeedsChecksum) == 0) return true;
  const size_t start = header.checksum_start, at = start + header.checksum_offset;
  if (start >= packet.size() || at + sizeof(be16) > packet.size()) return false;
  // The field holds the pseudo header's sum already and is part of what is summed up.
  const uint16_t sum = checksum_fold(checksum_add(packet.subspan(start)));
  const be16 wire(sum != 0 ? sum : uint16_t{0xffff});  // 0 and 0xffff are the same number; UDP's 0 means "none"
  std::memcpy(packet.data() + at, &wire, sizeof wire);
  return true;
}

std::optional<Segmentation> Segmentation::plan(const VnetHeader& header, Bytes packet) noexcept {
  if (packet.size() > kMaxSuperFrame) return std::nullopt;
  Segmentation plan;
  plan.packet_ = packet;
  if (header.type == VnetHeader::kNone) {
    if (!complete_checksum(header, packet)) return std::nullopt;
    plan.count_ = 1;
    plan.payload_ = static_cast<uint16_t>(packet.size());
    return plan;
  }
  if (!matches(header.type, version_of(packet)) || header.segment_size == 0) return std::nullopt;
  const uint8_t protocol = header.type == VnetHeader::kUdp ? kProtocolUdp : kProtocolTcp;
  const auto headers = headers_of(packet, protocol, header.checksum_start);
  if (!headers) return std::nullopt;
  const size_t payload = packet.size() - headers->size;
  plan.protocol_ = protocol;
  plan.l4_offset_ = static_cast<uint16_t>(headers->l4_offset);
  plan.headers_ = static_cast<uint16_t>(headers->size);
  plan.payload_ = static_cast<uint16_t>(std::min<size_t>(header.segment_size, payload));
  plan.count_ = static_cast<unsigned>((payload + plan.payload_ - 1) / plan.payload_);
  plan.pseudo_sum_ = pseudo_sum(packet, protocol);
  return plan;
}

size_t Segmentation::size(unsigned segment) const noexcept {
  const size_t begin = size_t{segment} * payload_;
  return headers_ + std::min<size_t>(payload_, packet_.size() - headers_ - begin);
}

void Segmentation::write(unsigned segment, Bytes out) const noexcept {
  const size_t begin = headers_ + size_t{segment} * payload_;
  std::memcpy(out.data(), packet_.data(), headers_);
  std::memcpy(out.data() + headers_, packet_.data() + begin, out.size() - headers_);
  if (protocol_ == 0) return;
  finish_ip(segment, out);
  const Bytes l4 = out.subspan(l4_offset_);
  if (protocol_ == kProtocolTcp) finish_tcp(segment, l4);
  if (protocol_ == kProtocolUdp) reinterpret_cast<UdpHeader*>(l4.data())->length = static_cast<uint16_t>(l4.size());

  const size_t at = protocol_ == kProtocolTcp ? offsetof(TcpHeader, checksum) : offsetof(UdpHeader, checksum);
  be16 checksum(0);
  std::memcpy(l4.data() + at, &checksum, sizeof checksum);
  const uint16_t sum = checksum_fold(checksum_add(l4, add_number(static_cast<uint32_t>(l4.size()), pseudo_sum_)));
  checksum = sum != 0 ? sum : uint16_t{0xffff};
  std::memcpy(l4.data() + at, &checksum, sizeof checksum);
}

void Segmentation::finish_ip(unsigned segment, Bytes out) const noexcept {
  if (version_of(out) == Family::kIpv4) {
    auto& ip = *reinterpret_cast<Ipv4Header*>(out.data());
    ip.total_length = static_cast<uint16_t>(out.size());
    ip.id = static_cast<uint16_t>(ip.id.host() + segment);
    ip.checksum = ipv4_header_checksum(ip);
  } else {
    reinterpret_cast<Ipv6Header*>(out.data())->payload_length = static_cast<uint16_t>(out.size() - sizeof(Ipv6Header));
  }
}

// What concerns the whole stretch of data is said once: "window reduced" with its beginning, "push" and "no more" with
// its end.
void Segmentation::finish_tcp(unsigned segment, Bytes l4) const noexcept {
  auto& tcp = *reinterpret_cast<TcpHeader*>(l4.data());
  tcp.sequence = tcp.sequence.host() + segment * payload_;
  uint8_t flags = tcp.flags;
  if (segment != 0) flags &= static_cast<uint8_t>(~TcpHeader::kCwr);
  if (segment + 1 != count_) flags &= static_cast<uint8_t>(~(TcpHeader::kFin | TcpHeader::kPsh));
  tcp.flags = flags;
}

}  // namespace sluice
