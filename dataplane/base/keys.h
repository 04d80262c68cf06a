// The key types of the protocol and their text forms. Public keys are ordinary values; private ones are Secrets.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "dataplane/base/secret.h"

namespace sluice {

struct PublicKey {
  std::array<std::byte, 32> bytes{};
  auto operator<=>(const PublicKey&) const = default;
  bool is_zero() const { return *this == PublicKey{}; }
};

using PrivateKey = Secret<32>;    // stored clamped (RFC 7748); all zero: none
using PresharedKey = Secret<32>;  // all zero: none

// Base64 (44 characters, as `wg` prints them) and hexadecimal (64 digits, either case) of 32-byte keys, in constant
// time in the key's value (libsodium's codecs). Anything that is not exactly one key gives nullopt.
std::string to_base64(std::span<const std::byte, 32> key);
std::string to_hex(std::span<const std::byte, 32> key);
bool key_from_base64(std::string_view text, std::span<std::byte, 32> key);
bool key_from_hex(std::string_view text, std::span<std::byte, 32> key);
std::optional<PublicKey> public_key_from_base64(std::string_view text);

struct PublicKeyHash {
  size_t operator()(const PublicKey& key) const {
    size_t h;  // public keys that are configured by the operator: no hash flooding to fear
    std::memcpy(&h, key.bytes.data() + 8, sizeof h);
    return h;
  }
};

}  // namespace sluice
