// Which addresses are the gateway's own, as far as it can be said without the forwarding table: every new flow's source
// is asked about. Immutable; control makes it from the prefixes whose next hop is kLocal, workers read it through Fib.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "dataplane/base/net.h"

namespace sluice {

class LocalAddresses {
 public:
  enum class Answer : uint8_t {
    kNo,
    kYes,
    kAsk,  // the forwarding table: local prefixes that are no single host (127/8, multicast) begin with the same byte
  };

  LocalAddresses();  // knows nothing: kAsk
  explicit LocalAddresses(std::span<const Prefix> local);

  // Workers. `address`: 4 or 16 bytes in network order.
  Answer find_ipv4(const void* address) const noexcept { return ipv4_.find(address); }
  Answer find_ipv6(const void* address) const noexcept { return ipv6_.find(address); }

 private:
  __extension__ typedef unsigned __int128 uint128;

  template <class Host>  // an address as it lies in memory
  class Set {
   public:
    void ask_about_everything() noexcept { ask_.fill(UINT64_MAX); }
    void add(std::span<const Prefix> local);
    Answer find(const void* address) const noexcept {
      const unsigned first = *static_cast<const uint8_t*>(address);
      if (((ask_[first / 64] >> (first % 64)) & 1) != 0) [[unlikely]]
        return Answer::kAsk;
      Host host;
      std::memcpy(&host, address, sizeof host);
      for (size_t i = slot_of(host); hosts_[i] != kNoHost; i = (i + 1) & mask_)
        if (hosts_[i] == host) return Answer::kYes;
      return Answer::kNo;
    }

   private:
    static constexpr Host kNoHost = 0;  // nobody's address
    size_t slot_of(Host host) const noexcept {
      constexpr uint64_t kFactor = 0x9e3779b97f4a7c15;  // 2^64 divided by the golden ratio (Knuth, section 6.4)
      uint64_t hash = static_cast<uint64_t>(host) * kFactor;
      if constexpr (sizeof(Host) > sizeof hash) hash = (hash + static_cast<uint64_t>(host >> 64)) * kFactor;
      return (hash >> 32) & mask_;
    }

    std::vector<Host> hosts_{kNoHost};  // open addressing, at most a quarter full
    size_t mask_ = 0;                   // hosts_.size() - 1, a power of two less one
    std::array<uint64_t, 4> ask_{};     // bitmap by the first byte
  };

  Set<uint32_t> ipv4_;
  Set<uint128> ipv6_;
};

}  // namespace sluice
