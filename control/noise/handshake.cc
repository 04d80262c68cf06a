#include "control/noise/handshake.h"

#include "dataplane/crypto/primitives.h"
#include "dataplane/wire/limits.h"

namespace sluice {
namespace {

// "es" of message 1: the Diffie-Hellman result that yields the key of the next field. False: it is zero.
[[nodiscard]] bool mix_es(SymmetricState& symmetric, const PrivateKey& own, const PublicKey& theirs) noexcept {
  Secret<32> shared;
  if (!x25519(own, theirs, shared)) return false;
  symmetric.mix_key(shared);
  return true;
}

[[nodiscard]] bool mix_ss(SymmetricState& symmetric, const RemoteIdentity& remote) noexcept {
  if (!remote.usable()) return false;
  symmetric.mix_key(remote.static_static);
  return true;
}

// "ee" and "se" of message 2: the key comes only after the preshared key.
[[nodiscard]] bool mix_ee_se(SymmetricState& symmetric, const PrivateKey& ee_own, const PublicKey& ee_theirs,
                             const PrivateKey& se_own, const PublicKey& se_theirs) noexcept {
  Secret<32> ee, se;
  if (!x25519(ee_own, ee_theirs, ee) || !x25519(se_own, se_theirs, se)) return false;
  symmetric.mix_secret(ee);
  symmetric.mix_secret(se);
  return true;
}

SessionKeys initiator_keys(const SymmetricState& symmetric, uint32_t local_index, uint32_t remote_index) noexcept {
  Kdf2 keys = symmetric.split();
  return {std::move(keys.t1), std::move(keys.t2), local_index, remote_index, true};
}

SessionKeys responder_keys(const SymmetricState& symmetric, uint32_t local_index, uint32_t remote_index) noexcept {
  Kdf2 keys = symmetric.split();
  return {std::move(keys.t2), std::move(keys.t1), local_index, remote_index, false};
}

}  // namespace

HandshakeResult<CreatedInitiation> create_initiation(const LocalIdentity& local, const RemoteIdentity& remote,
                                                     uint32_t local_index, const Tai64n& timestamp, Rng& rng) noexcept {
  PrivateKey ephemeral = generate_private_key(rng);
  const PublicKey ephemeral_public = public_key_of(ephemeral);
  InitiationMessage message{};
  message.type = static_cast<uint32_t>(MessageType::kInitiation);
  message.sender_index = local_index;
  message.ephemeral = ephemeral_public.bytes;

  SymmetricState symmetric(remote.public_key);
  symmetric.mix_ephemeral(ephemeral_public);
  if (!mix_es(symmetric, ephemeral, remote.public_key)) return HandshakeError::kLowOrderKey;
  symmetric.encrypt_and_hash(local.public_key.bytes, message.encrypted_static);
  if (!mix_ss(symmetric, remote)) return HandshakeError::kLowOrderKey;
  symmetric.encrypt_and_hash(timestamp.bytes, message.encrypted_timestamp);

  return CreatedInitiation{message, {local_index, std::move(ephemeral), std::move(symmetric)}};
}

HandshakeResult<ClaimedInitiation> decrypt_initiation_static(const LocalIdentity& local,
                                                             const InitiationMessage& message) noexcept {
  const PublicKey ephemeral{message.ephemeral};
  ClaimedInitiation claimed{{}, SymmetricState(local.public_key)};
  claimed.symmetric.mix_ephemeral(ephemeral);
  if (!mix_es(claimed.symmetric, local.private_key, ephemeral)) return HandshakeError::kLowOrderKey;
  if (!claimed.symmetric.decrypt_and_hash(message.encrypted_static, claimed.static_key.bytes))
    return HandshakeError::kForgedStatic;
  return claimed;
}

HandshakeResult<ReceivedInitiation> finish_initiation(ClaimedInitiation claimed, const RemoteIdentity& remote,
                                                      const InitiationMessage& message) noexcept {
  ReceivedInitiation received{{}, message.sender_index.host(), {message.ephemeral}, std::move(claimed.symmetric)};
  if (!mix_ss(received.symmetric, remote)) return HandshakeError::kLowOrderKey;
  if (!received.symmetric.decrypt_and_hash(message.encrypted_timestamp, received.timestamp.bytes))
    return HandshakeError::kForgedTimestamp;
  return received;
}

HandshakeResult<CreatedResponse> create_response(ReceivedInitiation received, const RemoteIdentity& remote,
                                                 const PresharedKey& psk, uint32_t local_index, Rng& rng) noexcept {
  const PrivateKey ephemeral = generate_private_key(rng);
  const PublicKey ephemeral_public = public_key_of(ephemeral);
  ResponseMessage message{};
  message.type = static_cast<uint32_t>(MessageType::kResponse);
  message.sender_index = local_index;
  message.receiver_index = received.remote_index;
  message.ephemeral = ephemeral_public.bytes;

  SymmetricState& symmetric = received.symmetric;
  symmetric.mix_ephemeral(ephemeral_public);
  if (!mix_ee_se(symmetric, ephemeral, received.ephemeral, ephemeral, remote.public_key))
    return HandshakeError::kLowOrderKey;
  symmetric.mix_psk(psk);
  symmetric.encrypt_and_hash({}, message.encrypted_empty);

  return CreatedResponse{message, responder_keys(symmetric, local_index, received.remote_index)};
}

HandshakeResult<SessionKeys> consume_response(const LocalIdentity& local, const PresharedKey& psk,
                                              const SentInitiation& sent, const ResponseMessage& message) noexcept {
  if (message.receiver_index.host() != sent.local_index) return HandshakeError::kWrongReceiverIndex;
  const PublicKey ephemeral{message.ephemeral};

  SymmetricState symmetric = sent.symmetric.clone();
  symmetric.mix_ephemeral(ephemeral);
  if (!mix_ee_se(symmetric, sent.ephemeral, ephemeral, local.private_key, ephemeral))
    return HandshakeError::kLowOrderKey;
  symmetric.mix_psk(psk);
  if (!symmetric.decrypt_and_hash(message.encrypted_empty, {})) return HandshakeError::kForgedResponse;

  return initiator_keys(symmetric, sent.local_index, message.sender_index.host());
}

std::optional<HandshakeError> InitiationGuard::check(const Tai64n& timestamp, MonoTime now) const noexcept {
  if (timestamp <= greatest_) return HandshakeError::kReplayedTimestamp;
  if (!accepted_at_.is_never() && now - accepted_at_ < kInitiationInterval) return HandshakeError::kInitiationFlood;
  return std::nullopt;
}

void InitiationGuard::commit(const Tai64n& timestamp, MonoTime now) noexcept {
  greatest_ = timestamp;
  accepted_at_ = now;
}

}  // namespace sluice
