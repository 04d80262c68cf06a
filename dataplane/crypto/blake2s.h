// BLAKE2s as the protocol uses it (WireGuard paper, section 5.4), over libb2: libsodium has BLAKE2b only. Pure
// functions, any thread. Inputs are given in parts, so that nobody concatenates; intermediate states are wiped.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <span>

#include "dataplane/base/secret.h"
#include "dataplane/wire/messages.h"

namespace sluice {

using Hash = std::array<std::byte, 32>;
using Mac16 = std::array<std::byte, 16>;

Hash blake2s(std::initializer_list<ConstBytes> parts) noexcept;  // HASH(a | b | ...)
Mac16 blake2s_mac(ConstBytes key,
                  std::initializer_list<ConstBytes> parts) noexcept;  // MAC: keyed BLAKE2s-128, key <= 32 bytes
Secret<32> hmac_blake2s(ConstBytes key,
                        std::initializer_list<ConstBytes> parts) noexcept;  // HMAC (RFC 2104), any key size

// KDFn: the first n of HKDF's outputs (paper, section 5.4).
struct Kdf1 {
  Secret<32> t1;
};
struct Kdf2 {
  Secret<32> t1, t2;
};
struct Kdf3 {
  Secret<32> t1, t2, t3;
};
Kdf1 kdf1(const Secret<32>& chaining_key, ConstBytes input) noexcept;
Kdf2 kdf2(const Secret<32>& chaining_key, ConstBytes input) noexcept;
Kdf3 kdf3(const Secret<32>& chaining_key, ConstBytes input) noexcept;

}  // namespace sluice
