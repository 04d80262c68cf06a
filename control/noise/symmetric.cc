#include "control/noise/symmetric.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "dataplane/crypto/primitives.h"

namespace sluice {
namespace {

constexpr std::string_view kConstruction = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
constexpr std::string_view kIdentifier = "WireGuard v1 zx2c4 Jason@zx2c4.com";

ConstBytes bytes_of(std::string_view text) noexcept { return std::as_bytes(std::span(text)); }

}  // namespace

SymmetricState::SymmetricState(ConstBytes prologue, const PublicKey& responder_static) noexcept
    : hash_(blake2s({bytes_of(kConstruction)})) {  // the name is longer than a hash: its hash stands for it
  std::ranges::copy(hash_, chaining_key_.bytes().begin());
  mix_hash(prologue);
  mix_hash(responder_static.bytes);
}

SymmetricState::SymmetricState(const PublicKey& responder_static) noexcept
    : SymmetricState(bytes_of(kIdentifier), responder_static) {}

SymmetricState SymmetricState::clone() const noexcept {
  SymmetricState copy;
  copy.chaining_key_ = chaining_key_.clone();
  copy.key_ = key_.clone();
  copy.hash_ = hash_;
  return copy;
}

void SymmetricState::mix_hash(ConstBytes data) noexcept { hash_ = blake2s({hash_, data}); }

void SymmetricState::mix_ephemeral(const PublicKey& key) noexcept {
  mix_hash(key.bytes);
  chaining_key_ = kdf1(chaining_key_, key.bytes).t1;
}

void SymmetricState::mix_key(const Secret<32>& shared) noexcept {
  Kdf2 keys = kdf2(chaining_key_, shared.bytes());
  chaining_key_ = std::move(keys.t1);
  key_ = std::move(keys.t2);
}

void SymmetricState::mix_secret(const Secret<32>& shared) noexcept {
  chaining_key_ = kdf1(chaining_key_, shared.bytes()).t1;
}

void SymmetricState::mix_psk(const PresharedKey& psk) noexcept {
  Kdf3 keys = kdf3(chaining_key_, psk.bytes());
  chaining_key_ = std::move(keys.t1);
  mix_hash(keys.t2.bytes());
  key_ = std::move(keys.t3);
}

void SymmetricState::encrypt_and_hash(ConstBytes text, Bytes sealed) noexcept {
  aead_seal(key_, aead_nonce(0), text, hash_, sealed);
  mix_hash(sealed);
}

bool SymmetricState::decrypt_and_hash(ConstBytes sealed, Bytes text) noexcept {
  if (!aead_open(key_, aead_nonce(0), sealed, hash_, text)) return false;
  mix_hash(sealed);
  return true;
}

Kdf2 SymmetricState::split() const noexcept { return kdf2(chaining_key_, {}); }

}  // namespace sluice
