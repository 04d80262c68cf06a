// X25519 and the handshake's AEADs, over libsodium: one message at a time, for the control thread. All functions are
// pure and thread-safe once crypto_init() has returned. The packet path has its own AEADs: crypto/aead.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/base/keys.h"
#include "dataplane/base/random.h"
#include "dataplane/base/secret.h"
#include "dataplane/wire/messages.h"

namespace sluice {

// Must be called once before any other crypto or key function (sodium_init). False: no usable randomness.
[[nodiscard]] bool crypto_init() noexcept;

void clamp(PrivateKey& key) noexcept;  // RFC 7748, section 5
PrivateKey generate_private_key(Rng& rng) noexcept;
PublicKey public_key_of(const PrivateKey& key) noexcept;  // not of "none"

// X25519 (RFC 7748). False: the shared secret is zero (a point of low order); `shared` is then zero.
[[nodiscard]] bool x25519(const PrivateKey& own, const PublicKey& theirs, Secret<32>& shared) noexcept;

using AeadNonce = std::array<std::byte, 12>;
AeadNonce aead_nonce(uint64_t counter) noexcept;  // 4 zero bytes, 64-bit little-endian counter (paper, section 5.4)

// ChaCha20-Poly1305 (RFC 8439) of one handshake field. `sealed` is exactly text.size() + 16 bytes and may start where
// `text` does (in place). open: false, and `text` zeroed, if forged or if the sizes do not fit.
void aead_seal(const Secret<32>& key, const AeadNonce& nonce, ConstBytes text, ConstBytes ad, Bytes sealed) noexcept;
[[nodiscard]] bool aead_open(const Secret<32>& key, const AeadNonce& nonce, ConstBytes sealed, ConstBytes ad,
                             Bytes text) noexcept;
inline void aead_seal(const Secret<32>& key, uint64_t counter, ConstBytes text, ConstBytes ad, Bytes sealed) noexcept {
  aead_seal(key, aead_nonce(counter), text, ad, sealed);
}
[[nodiscard]] inline bool aead_open(const Secret<32>& key, uint64_t counter, ConstBytes sealed, ConstBytes ad,
                                    Bytes text) noexcept {
  return aead_open(key, aead_nonce(counter), sealed, ad, text);
}

// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha), for cookie replies; sizes and failure as above.
void xaead_seal(std::span<const std::byte, 32> key, std::span<const std::byte, 24> nonce, ConstBytes text,
                ConstBytes ad, Bytes sealed) noexcept;
[[nodiscard]] bool xaead_open(std::span<const std::byte, 32> key, std::span<const std::byte, 24> nonce,
                              ConstBytes sealed, ConstBytes ad, Bytes text) noexcept;

}  // namespace sluice
