// Any packet may enter a tunnel that clamps. Nothing but a maximum segment size and the TCP checksum may change, the
// checksum verdict stays what it was, and a second time changes nothing.
#include <cstdint>
#include <cstring>
#include <memory>

#include "dataplane/wire/ip.h"
#include "dataplane/wire/mss_clamp.h"
#include "tests/fuzz/require.h"

namespace sluice {
namespace {

constexpr uint16_t kMtu = 1420;

// Ones' complement sum of a whole packet: 0 and 0xffff are the same number.
uint16_t sum_of(ConstBytes packet) { return static_cast<uint16_t>(checksum_fold(checksum_add(packet)) % 0xffff); }

size_t differences(ConstBytes a, ConstBytes b) {
  size_t count = 0;
  for (size_t i = 0; i < a.size(); ++i) count += a[i] != b[i];
  return count;
}

void check(ConstBytes packet) {
  const std::unique_ptr<std::byte[]> storage(new std::byte[packet.size()]);  // its end is the sanitizer's
  const Bytes once(storage.get(), packet.size());
  if (!packet.empty()) std::memcpy(once.data(), packet.data(), packet.size());
  clamp_mss(once, kMtu);
  require(differences(packet, once) <= 4, "more changed than a value and a checksum");
  require(sum_of(packet) == sum_of(once), "checksum");
  const std::unique_ptr<std::byte[]> again(new std::byte[packet.size()]);
  if (!packet.empty()) std::memcpy(again.get(), once.data(), packet.size());
  clamp_mss({again.get(), packet.size()}, kMtu);
  require(differences(once, {again.get(), packet.size()}) == 0, "not the same the second time");
}

}  // namespace
}  // namespace sluice

// The first byte bends the packet towards what matters: version, protocol, length, SYN, a long header.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t length = size - 1;
  const std::unique_ptr<std::byte[]> packet(new std::byte[length]);
  std::memcpy(packet.get(), data + 1, length);
  const bool ipv4 = (data[0] & 1) != 0;
  const size_t ip = ipv4 ? 20 : 40;
  if ((data[0] & 2) != 0 && length >= ip + 20) {
    packet[0] = static_cast<std::byte>(ipv4 ? 0x45 : 0x60);
    packet[ipv4 ? 9 : 6] = std::byte{6};
    const size_t claimed = ipv4 ? length : length - ip;
    packet[ipv4 ? 2 : 4] = static_cast<std::byte>(claimed >> 8);
    packet[ipv4 ? 3 : 5] = static_cast<std::byte>(claimed);
    if (ipv4) packet[6] = packet[7] = std::byte{0};
    packet[ip + 13] = std::byte{2};
    const size_t words = 5 + (data[0] >> 4) % 11;
    packet[ip + 12] = static_cast<std::byte>(words << 4);
    if ((data[0] & 4) != 0 && length >= ip + 24) {
      packet[ip + 20] = std::byte{2};
      packet[ip + 21] = std::byte{4};
    }
  }
  sluice::check({packet.get(), length});
  return 0;
}
