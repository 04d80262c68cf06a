// The header in front of a packet from a TUN is the kernel's, but the packet is anybody's: any pair of them is cut
// within its bytes, and what was cut and put together again stands for the same bytes of payload.
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "dataplane/wire/super_frame.h"
#include "tests/fuzz/require.h"

namespace sluice {
namespace {

void check(const VnetHeader& header, Bytes packet) {
  const auto plan = Segmentation::plan(header, packet);
  if (!plan) return;
  require(plan->count() != 0, "a plan without segments");
  std::vector<std::unique_ptr<std::byte[]>> storage;  // one each: its end is the sanitizer's
  std::vector<Bytes> segments;
  size_t bytes = 0;
  for (unsigned i = 0; i < plan->count() && i < Coalescer::kMaxPackets; ++i) {
    const size_t size = plan->size(i);
    require(size <= packet.size(), "a segment larger than its super-frame");
    storage.emplace_back(new std::byte[size]);
    segments.emplace_back(storage.back().get(), size);
    plan->write(i, segments.back());
    bytes += size;
  }
  Coalescer coalescer;
  size_t merged = 0, packets = 0;
  for (const Coalescer::Group& group : coalescer.coalesce(segments, true)) {
    merged += segments[group.first].size();
    ++packets;
    for (uint8_t p = group.first; p != group.last; ++packets) {
      p = coalescer.next(p);
      require(p > group.first && p < segments.size(), "a group's next packet");
      require(group.headers < segments[p].size(), "a packet without payload in a group");
      merged += segments[p].size();
    }
  }
  require(packets == segments.size() && merged == bytes, "packets lost or doubled");
}

}  // namespace
}  // namespace sluice

// The first byte bends header and packet towards what passes the first checks.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  if (size < 1 + sizeof(VnetHeader)) return 0;
  VnetHeader header;
  std::memcpy(&header, data + 1, sizeof header);
  const size_t length = size - 1 - sizeof header;
  const std::unique_ptr<std::byte[]> packet(new std::byte[length]);
  if (length != 0) std::memcpy(packet.get(), data + 1 + sizeof header, length);
  if ((data[0] & 1) != 0 && length >= 60) {
    const bool ipv4 = (data[0] & 2) != 0, tcp = (data[0] & 4) != 0;
    header.type = static_cast<uint8_t>(!tcp ? VnetHeader::kUdp : ipv4 ? VnetHeader::kTcpIpv4 : VnetHeader::kTcpIpv6);
    header.checksum_start = ipv4 ? 20 : 40;
    header.segment_size = static_cast<uint16_t>(header.segment_size % 256);
    packet[0] = static_cast<std::byte>(ipv4 ? 0x45 : 0x60);
    packet[ipv4 ? 9 : 6] = static_cast<std::byte>(tcp ? 6 : 17);
    if (ipv4) packet[6] = packet[7] = std::byte{0};
    if (tcp) packet[size_t{header.checksum_start} + 12] = std::byte{0x50};
  }
  check(header, {packet.get(), length});
  return 0;
}
