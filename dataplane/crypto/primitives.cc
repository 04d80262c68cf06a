#include "dataplane/crypto/primitives.h"

#include <sodium.h>

#include <cassert>
#include <cstring>

#include "dataplane/crypto/montgomery.h"

namespace sluice {
namespace {

static_assert(kTagSize == crypto_aead_chacha20poly1305_ietf_ABYTES);
static_assert(kTagSize == crypto_aead_xchacha20poly1305_ietf_ABYTES);

const unsigned char* raw(ConstBytes bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }
unsigned char* raw(Bytes bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

}  // namespace

bool crypto_init() noexcept { return sodium_init() >= 0; }

void clamp(PrivateKey& key) noexcept {
  key.bytes()[0] &= std::byte{0xf8};
  key.bytes()[31] = (key.bytes()[31] & std::byte{0x7f}) | std::byte{0x40};
}

PrivateKey generate_private_key(Rng& rng) noexcept {
  PrivateKey key;
  rng.fill(key.bytes());
  clamp(key);
  return key;
}

PublicKey public_key_of(const PrivateKey& key) noexcept {
  EdwardsPoint point;
  [[maybe_unused]] const int failed = crypto_scalarmult_ed25519_base(raw(Bytes(point)), key.data());  // clamps
  assert(!failed);
  return montgomery_form(point);
}

bool x25519(const PrivateKey& own, const PublicKey& theirs, Secret<32>& shared) noexcept {
  const bool contributory = crypto_scalarmult(shared.data(), own.data(), raw(theirs.bytes)) == 0 && !shared.is_zero();
  if (!contributory) shared.clear();
  return contributory;
}

AeadNonce aead_nonce(uint64_t counter) noexcept {
  AeadNonce nonce{};
  const le64 wire(counter);
  std::memcpy(nonce.data() + 4, &wire, sizeof wire);
  return nonce;
}

void aead_seal(const Secret<32>& key, const AeadNonce& nonce, ConstBytes text, ConstBytes ad, Bytes sealed) noexcept {
  assert(sealed.size() == text.size() + kTagSize);
  crypto_aead_chacha20poly1305_ietf_encrypt(raw(sealed), nullptr, raw(text), text.size(), raw(ad), ad.size(), nullptr,
                                            raw(nonce), key.data());
}

bool aead_open(const Secret<32>& key, const AeadNonce& nonce, ConstBytes sealed, ConstBytes ad, Bytes text) noexcept {
  const bool ok = sealed.size() == text.size() + kTagSize &&
                  crypto_aead_chacha20poly1305_ietf_decrypt(raw(text), nullptr, nullptr, raw(sealed), sealed.size(),
                                                            raw(ad), ad.size(), raw(nonce), key.data()) == 0;
  if (!ok) wipe(text);
  return ok;
}

void xaead_seal(std::span<const std::byte, 32> key, std::span<const std::byte, 24> nonce, ConstBytes text,
                ConstBytes ad, Bytes sealed) noexcept {
  assert(sealed.size() == text.size() + kTagSize);
  crypto_aead_xchacha20poly1305_ietf_encrypt(raw(sealed), nullptr, raw(text), text.size(), raw(ad), ad.size(), nullptr,
                                             raw(nonce), raw(key));
}

bool xaead_open(std::span<const std::byte, 32> key, std::span<const std::byte, 24> nonce, ConstBytes sealed,
                ConstBytes ad, Bytes text) noexcept {
  const bool ok = sealed.size() == text.size() + kTagSize &&
                  crypto_aead_xchacha20poly1305_ietf_decrypt(raw(text), nullptr, nullptr, raw(sealed), sealed.size(),
                                                             raw(ad), ad.size(), raw(nonce), raw(key)) == 0;
  if (!ok) wipe(text);
  return ok;
}

}  // namespace sluice
