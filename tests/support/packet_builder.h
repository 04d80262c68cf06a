// Packets as bytes, built from the inside out: PacketBuilder(payload).udp(1111, 51820).ipv4("192.0.2.1", "192.0.2.2")
// .ethernet(to, from). Lengths and checksums are right unless a field says otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "dataplane/base/net.h"
#include "dataplane/base/secret.h"

namespace sluice::test {

using Octets = std::vector<std::byte>;

struct UdpFields {
  std::optional<uint16_t> length, checksum;
};
struct Ipv4Fields {
  uint8_t tos = 0, ttl = 64, protocol = 17;
  bool dont_fragment = false, more_fragments = false;
  uint16_t offset = 0;      // of a fragment, in bytes
  size_t options_size = 0;  // bytes of no-operation options
  std::optional<uint16_t> total_length, checksum;
};
struct Ipv6Fields {
  uint8_t traffic_class = 0, hop_limit = 64, next_header = 17;
  std::optional<uint16_t> payload_length;
};

class PacketBuilder {
 public:
  explicit PacketBuilder(Octets payload = {}) : bytes_(std::move(payload)) {}
  explicit PacketBuilder(size_t payload_size);  // a counting pattern

  PacketBuilder& udp(uint16_t source_port, uint16_t destination_port, UdpFields fields = {});
  // Fills in the checksum of the UDP header that was wrapped last, if any.
  PacketBuilder& ipv4(std::string_view source, std::string_view destination, Ipv4Fields fields = {});
  PacketBuilder& ipv6(std::string_view source, std::string_view destination, Ipv6Fields fields = {});
  PacketBuilder& ethernet(const Mac& to, const Mac& from, std::optional<uint16_t> type = {});
  PacketBuilder& pad_to(size_t size);  // trailing bytes, as of the link layer
  PacketBuilder& prepend(const Octets& bytes);

  Octets build() const { return bytes_; }
  operator Octets() const { return bytes_; }

 private:
  void finish_udp(const IpAddress& source, const IpAddress& destination);

  Octets bytes_;
  bool udp_checksum_due_ = false;
};

// A TCP SYN over IPv4 that asks for segments of that size.
Octets tcp_syn(uint16_t mss, std::string_view from, std::string_view to, uint8_t ttl = 64);

// A WireGuard data message: plaintext sealed as it is, without padding.
Octets data_message(const Secret<32>& key, uint32_t receiver_index, uint64_t counter, const Octets& plaintext);
// The plaintext of one, or nothing if it does not authenticate.
std::optional<Octets> open_data_message(const Secret<32>& key, std::span<const std::byte> message);

std::string hex(std::span<const std::byte> bytes);

}  // namespace sluice::test
