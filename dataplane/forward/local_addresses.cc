#include "dataplane/forward/local_addresses.h"

#include <bit>

namespace sluice {

LocalAddresses::LocalAddresses() {
  ipv4_.ask_about_everything();
  ipv6_.ask_about_everything();
}

LocalAddresses::LocalAddresses(std::span<const Prefix> local) {
  ipv4_.add(local);
  ipv6_.add(local);
}

template <class Host>
void LocalAddresses::Set<Host>::add(std::span<const Prefix> local) {
  hosts_.assign(std::bit_ceil(4 * local.size() + 1), kNoHost);
  mask_ = hosts_.size() - 1;
  for (const Prefix& prefix : local) {
    if (prefix.address.size() != sizeof(Host)) continue;
    Host host;
    std::memcpy(&host, prefix.address.bytes.data(), sizeof host);
    if (prefix.length == 8 * sizeof(Host) && host != kNoHost) {
      size_t i = slot_of(host);
      while (hosts_[i] != kNoHost) i = (i + 1) & mask_;
      hosts_[i] = host;
      continue;
    }
    const unsigned first = prefix.address.bytes[0], count = prefix.length < 8 ? 1u << (8 - prefix.length) : 1;
    for (unsigned byte = first; byte < first + count; ++byte) ask_[byte / 64] |= uint64_t{1} << (byte % 64);
  }
}

}  // namespace sluice
