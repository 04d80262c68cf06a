// Anybody can send ICMP. A report is read within its bounds, whatever it says, and what is believed holds together.
#include <cstdint>
#include <cstring>
#include <memory>

#include "control/wg/path_report.h"
#include "dataplane/wire/ip.h"
#include "tests/fuzz/require.h"

namespace sluice {
namespace {

// Makes random bytes a sound ICMP message about a data message as far as they reach, so that the rest is looked at.
void mend(Bytes packet, uint8_t how) {
  const bool ipv4 = (how & 1) != 0;
  const size_t l3 = ipv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
  if (packet.size() < 2 * l3 + 8 + 8 + 4) return;
  const Bytes icmp = packet.subspan(l3), quote = icmp.subspan(8);
  packet[0] = quote[0] = ipv4 ? std::byte{0x45} : std::byte{0x60};
  packet[ipv4 ? 9 : 6] = ipv4 ? std::byte{kProtocolIcmp} : std::byte{kProtocolIcmpv6};
  if ((how & 2) != 0) quote[ipv4 ? 9 : 6] = std::byte{kProtocolUdp};
  if ((how & 4) != 0) std::memset(packet.data() + (ipv4 ? 6 : 40), 0, ipv4 ? 2 : 0);
  if ((how & 8) != 0 && ipv4) quote[6] = quote[7] = std::byte{0};
  if ((how & 16) != 0) {
    quote[l3 + 8] = std::byte{4};
    std::memset(quote.data() + l3 + 9, 0, 3);
  }
  icmp[0] = ipv4 ? std::byte{3} : std::byte{2};
  icmp[1] = ipv4 ? std::byte{4} : std::byte{0};
  if (!ipv4) icmp[4] = icmp[5] = std::byte{0};
  icmp[2] = icmp[3] = std::byte{0};
  const auto* ip = reinterpret_cast<const Ipv6Header*>(packet.data());
  const be16 sum(ipv4 ? checksum_fold(checksum_add(icmp))
                      : transport_checksum(IpAddress::ipv6(ip->source.data()), IpAddress::ipv6(ip->destination.data()),
                                           kProtocolIcmpv6, icmp));
  std::memcpy(icmp.data() + 2, &sum, sizeof sum);
}

}  // namespace
}  // namespace sluice

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::unique_ptr<std::byte[]> exact(new std::byte[size - 1]);  // its end is the sanitizer's
  std::memcpy(exact.get(), data + 1, size - 1);
  const sluice::Bytes packet{exact.get(), size - 1};
  if ((data[0] & 0x80) == 0) sluice::mend(packet, data[0]);
  const auto report = sluice::parse_path_report(packet);
  if (!report) return 0;
  sluice::require(report->local.family == report->remote.address.family, "two families");
  sluice::require(report->local.family == sluice::version_of(packet), "another family");
  sluice::require(size - 1 >= 20 + 8 + 20 + 8 + 16, "proves too much for its size");
  return 0;
}
