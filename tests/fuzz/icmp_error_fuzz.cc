// Any packet may be the one an ICMP error is about. An answer must be within the RFCs' lengths, have a right checksum,
// and never be answered itself.
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "control/linux/icmp_error.h"
#include "dataplane/wire/ip.h"
#include "tests/fuzz/require.h"

namespace sluice {
namespace {

void check(ConstBytes packet, IcmpError error) {
  const IpAddress gateway4 = *parse_address("192.0.2.1"), gateway6 = *parse_address("2001:db8::1");
  const bool v4 = version_of(packet) == Family::kIpv4;
  const auto answer = make_icmp_error(packet, {.error = error, .mtu = 1400, .source = v4 ? gateway4 : gateway6});
  if (!answer) return;
  const ConstBytes bytes(*answer);
  require(bytes.size() <= (v4 ? size_t{576} : size_t{1280}), "too long");
  require(inner_length(bytes) == bytes.size(), "length");
  if (v4) {
    require(checksum_fold(checksum_add(bytes.first(sizeof(Ipv4Header)))) == 0, "IPv4 checksum");
    require(checksum_fold(checksum_add(bytes.subspan(sizeof(Ipv4Header)))) == 0, "ICMP checksum");
  } else {
    const auto* ip = reinterpret_cast<const Ipv6Header*>(bytes.data());
    require(transport_checksum(IpAddress::ipv6(ip->source.data()), IpAddress::ipv6(ip->destination.data()),
                               kProtocolIcmpv6, bytes.subspan(sizeof *ip)) == 0,
            "ICMPv6 checksum");
  }
  require(!make_icmp_error(bytes, {.error = error, .mtu = 1400, .source = v4 ? gateway4 : gateway6}),
          "answered itself");
}

}  // namespace
}  // namespace sluice

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::unique_ptr<std::byte[]> exact(new std::byte[size - 1]);  // its end is the sanitizer's
  std::memcpy(exact.get(), data + 1, size - 1);
  if (data[0] & 0x80 && size > 1) exact[0] = static_cast<std::byte>((data[0] & 0x40) ? 0x45 : 0x60);
  sluice::check({exact.get(), size - 1}, static_cast<sluice::IcmpError>(data[0] % 5));
  return 0;
}
