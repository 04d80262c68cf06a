#include "dataplane/base/keys.h"

#include <sodium.h>

namespace sluice {
namespace {

const unsigned char* raw(std::span<const std::byte, 32> key) {
  return reinterpret_cast<const unsigned char*>(key.data());
}

}  // namespace

std::string to_base64(std::span<const std::byte, 32> key) {
  std::string text(sodium_base64_ENCODED_LEN(32, sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(text.data(), text.size(), raw(key), 32, sodium_base64_VARIANT_ORIGINAL);
  text.pop_back();  // the terminator that libsodium counts
  return text;
}

std::string to_hex(std::span<const std::byte, 32> key) {
  std::string text(65, '\0');
  sodium_bin2hex(text.data(), text.size(), raw(key), 32);
  text.pop_back();
  return text;
}

bool key_from_base64(std::string_view text, std::span<std::byte, 32> key) {
  size_t length = 0;
  const bool ok = text.size() == 44 &&
                  sodium_base642bin(reinterpret_cast<unsigned char*>(key.data()), 32, text.data(), text.size(), nullptr,
                                    &length, nullptr, sodium_base64_VARIANT_ORIGINAL) == 0 &&
                  length == 32;
  if (!ok) wipe(key);
  return ok;
}

bool key_from_hex(std::string_view text, std::span<std::byte, 32> key) {
  size_t length = 0;
  const bool ok = text.size() == 64 &&
                  sodium_hex2bin(reinterpret_cast<unsigned char*>(key.data()), 32, text.data(), text.size(), nullptr,
                                 &length, nullptr) == 0 &&
                  length == 32;
  if (!ok) wipe(key);
  return ok;
}

std::optional<PublicKey> public_key_from_base64(std::string_view text) {
  PublicKey key;
  if (!key_from_base64(text, key.bytes)) return std::nullopt;
  return key;
}

}  // namespace sluice
