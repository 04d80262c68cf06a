// Who we are and who a peer is, with everything that can be computed once per key instead of once per message. Control
// thread only.
#pragma once

#include <optional>

#include "dataplane/base/keys.h"
#include "dataplane/base/secret.h"
#include "dataplane/crypto/blake2s.h"

namespace sluice {

// Keys of mac1 and of cookie replies (paper, sections 5.4.4 and 5.4.7). Both derive from a public key alone, so they
// are no secrets: they prove only that the sender knows whom it talks to.
Hash mac1_key_of(const PublicKey& recipient) noexcept;  // HASH("mac1----" | recipient)
Hash cookie_key_of(const PublicKey& issuer) noexcept;   // HASH("cookie--" | issuer)

// A tunnel's own key pair. A tunnel without a private key has no LocalIdentity: it neither starts nor answers.
struct LocalIdentity {
  PrivateKey private_key;  // clamped
  PublicKey public_key;
  Hash mac1_key;    // of messages sent to us
  Hash cookie_key;  // of cookie replies that we issue

  // nullopt: the key is all zero, which means "none". Clamps.
  static std::optional<LocalIdentity> make(PrivateKey private_key) noexcept;
};

// A peer's key as seen by one LocalIdentity: make it anew when the private key changes.
struct RemoteIdentity {
  PublicKey public_key;
  Secret<32> static_static;  // DH(own static, peer static); zero if the peer's key is of low order
  Hash mac1_key;             // of messages that we send to the peer
  Hash cookie_key;           // of cookie replies that the peer issues

  static RemoteIdentity make(const LocalIdentity& local, const PublicKey& public_key) noexcept;

  // False: the key is of low order. It may be configured, but nothing is ever sent to it or accepted from it.
  bool usable() const noexcept { return !static_static.is_zero(); }
};

}  // namespace sluice
