#include "dataplane/forward/flow_hash.h"

#include <cstring>

namespace sluice {
namespace {

constexpr uint8_t kProtocolTcp = 6, kProtocolSctp = 132;

// Multiply and fold (the finaliser of splitmix64): every bit of the input moves every bit of the result.
uint64_t mix(uint64_t hash, uint64_t value) noexcept {
  hash = (hash ^ value) * 0xbf58476d1ce4e5b9;
  hash = (hash ^ (hash >> 29)) * 0x94d049bb133111eb;
  return hash ^ (hash >> 32);
}

template <class Value>
Value load(const std::byte* at) noexcept {
  Value value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// 0: the protocol has none, or they are not there.
uint32_t ports_of(ConstBytes packet, size_t offset, uint8_t protocol) noexcept {
  const bool has_ports = protocol == kProtocolTcp || protocol == kProtocolUdp || protocol == kProtocolSctp;
  return has_ports && packet.size() >= offset + sizeof(uint32_t) ? load<uint32_t>(packet.data() + offset) : 0;
}

}  // namespace

uint32_t flow_hash(ConstBytes packet) noexcept {
  const std::byte* at = packet.data();
  uint64_t hash = 0;
  if (version_of(packet) == Family::kIpv4) {
    const auto& ip = *reinterpret_cast<const Ipv4Header*>(at);
    const uint32_t ports = ip.is_fragment() ? 0 : ports_of(packet, ip.header_size(), ip.protocol);
    hash = mix(hash, load<uint64_t>(reinterpret_cast<const std::byte*>(ip.source.data())));
    hash = mix(hash, uint64_t{ports} << 8 | ip.protocol);
  } else {
    const auto& ip = *reinterpret_cast<const Ipv6Header*>(at);
    const auto* addresses = reinterpret_cast<const std::byte*>(ip.source.data());
    for (size_t i = 0; i < 2 * sizeof ip.source; i += sizeof(uint64_t)) hash = mix(hash, load<uint64_t>(addresses + i));
    hash = mix(hash, uint64_t{ports_of(packet, sizeof ip, ip.next_header)} << 8 | ip.next_header);
  }
  return static_cast<uint32_t>(hash);
}

uint32_t flow_hash(const Endpoint& remote) noexcept {
  const auto* bytes = reinterpret_cast<const std::byte*>(remote.address.bytes.data());
  const uint64_t hash = mix(mix(0, load<uint64_t>(bytes)), load<uint64_t>(bytes + sizeof(uint64_t)));
  return static_cast<uint32_t>(mix(hash, remote.port));
}

}  // namespace sluice
