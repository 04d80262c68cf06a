// Super-frames: what a TUN with offloads carries in place of packets of MTU size (IFF_VNET_HDR; the header is that of
// virtio 1.2, section 5.1.6.2). Going in they are cut into the packets of a wire, going out packets are put together
// again, as an offloading NIC and the kernel's GRO do it. Bytes only; the header is the kernel's, the packets behind it
// are anybody's: every length is checked.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "dataplane/wire/ip.h"
#include "dataplane/wire/messages.h"

namespace sluice {

struct VnetHeader {  // in the host's byte order
  static constexpr uint8_t kNeedsChecksum = 1;
  static constexpr uint8_t kNone = 0, kTcpIpv4 = 1, kTcpIpv6 = 4, kUdp = 5, kEcn = 0x80;  // kEcn: a bit beside a TCP

  uint8_t flags = 0;
  uint8_t type = kNone;
  uint16_t header_size = 0;   // a hint; found out from the packet
  uint16_t segment_size = 0;  // of a segment's payload
  uint16_t checksum_start = 0, checksum_offset = 0;
};
static_assert(sizeof(VnetHeader) == 10);

inline constexpr size_t kMaxSuperFrame = 65535;

// Fills in the checksum that the header asks for. False: the header points outside of the packet.
bool complete_checksum(const VnetHeader& header, Bytes packet) noexcept;

// How a packet that was read is cut: each segment is a whole IP packet with its own lengths, numbers and checksums.
class Segmentation {
 public:
  Segmentation() = default;
  // `packet` stays in place until the last segment was written. nullopt: header and packet contradict each other. A
  // packet that is not to be cut is one segment.
  static std::optional<Segmentation> plan(const VnetHeader& header, Bytes packet) noexcept;

  unsigned count() const noexcept { return count_; }
  size_t size(unsigned segment) const noexcept;            // bytes of the IP packet
  void write(unsigned segment, Bytes out) const noexcept;  // `out` has that size

 private:
  void finish_ip(unsigned segment, Bytes out) const noexcept;
  void finish_tcp(unsigned segment, Bytes l4) const noexcept;

  Bytes packet_;
  unsigned count_ = 0;
  uint16_t l4_offset_ = 0, headers_ = 0, payload_ = 0;  // IP header; IP and transport header; payload of a segment
  uint8_t protocol_ = 0;
  uint32_t pseudo_sum_ = 0;  // addresses and protocol
};

// Puts neighbouring packets of a flow together into super-frames. What two packets of one flow do to each other is in
// their order; different flows may pass each other within the burst.
class Coalescer {
 public:
  static constexpr unsigned kMaxPackets = 64;

  // One packet or several that become one super-frame: `first` whole, then each next() without its first `headers`
  // bytes.
  struct Group {
    VnetHeader header;
    uint8_t first = 0, last = 0;
    uint8_t count = 0;
    uint16_t headers = 0;
  };

  // At most kMaxPackets; whole IP packets. The headers of a group's first packet are rewritten. Valid until the next
  // call.
  std::span<const Group> coalesce(std::span<const Bytes> packets, bool udp) noexcept;
  uint8_t next(uint8_t packet) const noexcept { return next_[packet]; }

 private:
  struct Flow;  // a packet's headers, understood
  struct Open;
  void finish(Group& group, std::span<const Bytes> packets) const noexcept;
  bool append(Group& group, Open& open, std::span<const Bytes> packets, unsigned index, const Flow& flow) noexcept;

  std::array<Group, kMaxPackets> groups_;
  std::array<uint8_t, kMaxPackets> next_;
};

}  // namespace sluice
