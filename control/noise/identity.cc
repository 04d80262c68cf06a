#include "control/noise/identity.h"

#include <string_view>

#include "dataplane/crypto/primitives.h"

namespace sluice {
namespace {

constexpr std::string_view kLabelMac1 = "mac1----";
constexpr std::string_view kLabelCookie = "cookie--";

Hash labelled_hash(std::string_view label, const PublicKey& key) noexcept {
  return blake2s({std::as_bytes(std::span(label)), key.bytes});
}

}  // namespace

Hash mac1_key_of(const PublicKey& recipient) noexcept { return labelled_hash(kLabelMac1, recipient); }
Hash cookie_key_of(const PublicKey& issuer) noexcept { return labelled_hash(kLabelCookie, issuer); }

std::optional<LocalIdentity> LocalIdentity::make(PrivateKey private_key) noexcept {
  if (private_key.is_zero()) return std::nullopt;
  clamp(private_key);
  const PublicKey public_key = public_key_of(private_key);
  return LocalIdentity{.private_key = std::move(private_key),
                       .public_key = public_key,
                       .mac1_key = mac1_key_of(public_key),
                       .cookie_key = cookie_key_of(public_key)};
}

RemoteIdentity RemoteIdentity::make(const LocalIdentity& local, const PublicKey& public_key) noexcept {
  RemoteIdentity remote{.public_key = public_key,
                        .static_static = {},
                        .mac1_key = mac1_key_of(public_key),
                        .cookie_key = cookie_key_of(public_key)};
  if (!x25519(local.private_key, public_key, remote.static_static)) remote.static_static.clear();  // not usable()
  return remote;
}

}  // namespace sluice
