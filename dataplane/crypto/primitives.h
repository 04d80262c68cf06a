// X25519 and the handshake's AEADs, over libsodium. Control thread only: one message at a time.
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
PublicKey public_key_of(const PrivateKey& key) noexcept;

// X25519 (RFC 7748). False: the shared secret is zero (a point of low order); `shared` is then zero.
[[nodiscard]] bool x25519(const PrivateKey& own, const PublicKey& theirs, Secret<32>& shared) noexcept;

// ChaCha20-Poly1305 of one handshake field; sealed is text.size() + 16 bytes. open: false and `text` zeroed if forged.
void aead_seal(const Secret<32>& key, uint64_t counter, ConstBytes text, ConstBytes ad, Bytes sealed) noexcept;
[[nodiscard]] bool aead_open(const Secret<32>& key, uint64_t counter, ConstBytes sealed, ConstBytes ad,
                             Bytes text) noexcept;

// XChaCha20-Poly1305, for cookie replies.
void xaead_seal(ConstBytes key, std::span<const std::byte, 24> nonce, ConstBytes text, ConstBytes ad,
                Bytes sealed) noexcept;
[[nodiscard]] bool xaead_open(ConstBytes key, std::span<const std::byte, 24> nonce, ConstBytes sealed, ConstBytes ad,
                              Bytes text) noexcept;

}  // namespace sluice
