#include "control/ctl/keygen.h"

#include "config/keys.h"

namespace sluice::ctl {

std::string generate_private_key(Rng& rng) {
  PrivateKey key;
  rng.fill(key.bytes());
  config::clamp(key);
  return to_base64(key.bytes());
}

std::string generate_preshared_key(Rng& rng) {
  PresharedKey key;
  rng.fill(key.bytes());
  return to_base64(key.bytes());
}

Result<std::string> public_key_of(std::string_view private_key) {
  const auto key = config::parse_secret_key(config::trimmed(private_key));
  if (!key) return key.error();
  return to_base64(config::public_key_of(*key).bytes);
}

}  // namespace sluice::ctl
