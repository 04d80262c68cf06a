#include "dataplane/forward/flow_hash.h"

#include <sodium.h>

#include <cstring>

namespace sluice {
namespace {

constexpr uint8_t kProtocolTcp = 6, kProtocolSctp = 132;

// What is hashed of a packet, one after the other.
class FlowKey {
 public:
  void add(const void* bytes, size_t n) noexcept {
    std::memcpy(bytes_.data() + size_, bytes, n);
    size_ += n;
  }
  ConstBytes bytes() const noexcept { return {bytes_.data(), size_}; }

 private:
  std::array<std::byte, 2 * 16 + 1 + 2 * 2> bytes_;  // addresses, protocol, ports
  size_t size_ = 0;
};

// Nothing if the protocol has none, or they are not there.
void add_ports(FlowKey& key, ConstBytes packet, size_t offset, uint8_t protocol) noexcept {
  const bool has_ports = protocol == kProtocolTcp || protocol == kProtocolUdp || protocol == kProtocolSctp;
  if (has_ports && packet.size() >= offset + 4) key.add(packet.data() + offset, 4);
}

}  // namespace

uint32_t FlowHash::of(ConstBytes packet) const noexcept {
  FlowKey key;
  if (version_of(packet) == Family::kIpv4) {
    const auto& ip = *reinterpret_cast<const Ipv4Header*>(packet.data());
    key.add(packet.data() + offsetof(Ipv4Header, source), sizeof ip.source + sizeof ip.destination);
    key.add(&ip.protocol, sizeof ip.protocol);
    if (!ip.is_fragment()) add_ports(key, packet, ip.header_size(), ip.protocol);
  } else {
    const auto& ip = *reinterpret_cast<const Ipv6Header*>(packet.data());
    key.add(packet.data() + offsetof(Ipv6Header, source), sizeof ip.source + sizeof ip.destination);
    key.add(&ip.next_header, sizeof ip.next_header);
    add_ports(key, packet, sizeof ip, ip.next_header);
  }
  return hash(key.bytes());
}

uint32_t FlowHash::of(const Endpoint& remote) const noexcept {
  FlowKey key;
  key.add(remote.address.bytes.data(), remote.address.bytes.size());
  key.add(&remote.port, sizeof remote.port);
  return hash(key.bytes());
}

uint32_t FlowHash::hash(ConstBytes flow) const noexcept {
  static_assert(crypto_shorthash_siphash24_KEYBYTES == sizeof key_);
  std::array<unsigned char, crypto_shorthash_siphash24_BYTES> out;
  crypto_shorthash_siphash24(out.data(), reinterpret_cast<const unsigned char*>(flow.data()), flow.size(),
                             reinterpret_cast<const unsigned char*>(key_.data()));
  uint32_t value;
  std::memcpy(&value, out.data(), sizeof value);
  return value;
}

}  // namespace sluice
