// The symmetric half of Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s: a chaining key, a running hash of the transcript and the
// key of the next encrypted field (Noise specification, section 5.2; WireGuard paper, section 5.4). Control thread
// only.
#pragma once

#include "dataplane/base/keys.h"
#include "dataplane/base/secret.h"
#include "dataplane/crypto/blake2s.h"
#include "dataplane/wire/messages.h"

namespace sluice {

class SymmetricState {
 public:
  // Before the first message: protocol name, prologue, and the responder's static key as the pre-message.
  SymmetricState(ConstBytes prologue, const PublicKey& responder_static) noexcept;
  explicit SymmetricState(const PublicKey& responder_static) noexcept;  // with WireGuard's prologue, its IDENTIFIER

  // Keys are copied only where a failure must leave the original as it was, and then by name.
  SymmetricState clone() const noexcept;

  void mix_hash(ConstBytes data) noexcept;             // h = HASH(h | data)
  void mix_ephemeral(const PublicKey& key) noexcept;   // "e" of a psk pattern: h, then ck = KDF1(ck, key)
  void mix_key(const Secret<32>& shared) noexcept;     // (ck, k) = KDF2(ck, shared): an encrypted field follows
  void mix_secret(const Secret<32>& shared) noexcept;  // ck = KDF1(ck, shared): more is mixed in before the next field
  void mix_psk(const PresharedKey& psk) noexcept;      // (ck, tau, k) = KDF3(ck, psk); h = HASH(h | tau)

  // One field under k with nonce 0 and h as additional data; the ciphertext is then mixed into h. Every k encrypts one
  // field only. `sealed` is text.size() + 16 bytes.
  void encrypt_and_hash(ConstBytes text, Bytes sealed) noexcept;
  // False: forged. `text` is zeroed and the state is as it was.
  [[nodiscard]] bool decrypt_and_hash(ConstBytes sealed, Bytes text) noexcept;

  Kdf2 split() const noexcept;  // t1: initiator to responder, t2: responder to initiator

  const Secret<32>& chaining_key() const noexcept { return chaining_key_; }
  const Secret<32>& key() const noexcept { return key_; }
  const Hash& hash() const noexcept { return hash_; }

 private:
  SymmetricState() = default;

  Secret<32> chaining_key_;
  Secret<32> key_;
  Hash hash_{};
};

}  // namespace sluice
