// The four steps of the handshake as pure functions: bytes, keys, time and randomness in; bytes and keys out (WireGuard
// paper, section 5.4; Noise_IKpsk2). No I/O, no peer table, no clock. Control thread only.
//
// Nothing here changes a peer. Every consuming function reads its inputs and returns a new value or a named failure;
// the caller commits after the last check. A peer owns ONE handshake slot, `std::optional<SentInitiation>`: sending an
// initiation and accepting one both replace what was there (and release its index); deriving a session empties it. The
// responder needs no slot: between its first and last step nothing waits.
//
//   initiator                                   responder
//   create_initiation -> SentInitiation  --->   decrypt_initiation_static -> who claims to send it
//                                               finish_initiation (peer found) -> ReceivedInitiation
//                                               InitiationGuard::check, commit
//   consume_response -> SessionKeys      <---   create_response -> message, SessionKeys
//
// The macs at the end of a message are not part of the handshake proper: create_* leave them zero and
// CookieJar::add_macs (cookie.h) fills them in; Admission::judge (admission.h) has checked them before anything here is
// called.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <variant>

#include "control/noise/identity.h"
#include "control/noise/symmetric.h"
#include "control/noise/tai64n.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/random.h"
#include "dataplane/wire/messages.h"

namespace sluice {

// Why a handshake message was refused; each is one drop reason. Bad macs and unknown peers are judged elsewhere.
enum class HandshakeError : uint8_t {
  kLowOrderKey,         // a Diffie-Hellman result is zero: an ephemeral or static key of low order
  kForgedStatic,        // initiation: the static key does not decrypt: not made for our key, or altered
  kForgedTimestamp,     // initiation: the timestamp does not decrypt: not made by the owner of that static key
  kReplayedTimestamp,   // initiation: not newer than the newest accepted one of this peer
  kInitiationFlood,     // initiation: less than 20 ms after the last accepted one of this peer
  kWrongReceiverIndex,  // response: answers another initiation than the latest one
  kForgedResponse,      // response: the tag does not fit: altered, or another preshared key
};

template <class T>
class [[nodiscard]] HandshakeResult {
 public:
  HandshakeResult(T value) noexcept : state_(std::in_place_index<0>, std::move(value)) {}
  HandshakeResult(HandshakeError error) noexcept : state_(std::in_place_index<1>, error) {}

  explicit operator bool() const noexcept { return state_.index() == 0; }
  T& operator*() noexcept { return std::get<0>(state_); }
  const T& operator*() const noexcept { return std::get<0>(state_); }
  T* operator->() noexcept { return &**this; }
  const T* operator->() const noexcept { return &**this; }
  HandshakeError error() const noexcept { return std::get<1>(state_); }

 private:
  std::variant<T, HandshakeError> state_;
};

// What a handshake yields. Both counters start at 0.
struct SessionKeys {
  Secret<32> sending;
  Secret<32> receiving;
  uint32_t local_index = 0;   // the peer names it in messages to us
  uint32_t remote_index = 0;  // we name it in messages to the peer
  bool initiator = false;     // we were: we speak first, and rekey by age
};

// --- Initiator
// ---------------------------------------------------------------------------------------------------------

// What the initiator keeps until the response arrives.
struct SentInitiation {
  uint32_t local_index;
  PrivateKey ephemeral;
  SymmetricState symmetric;  // after message 1
};

struct CreatedInitiation {
  InitiationMessage message;  // macs zero
  SentInitiation state;
};

// local_index: fresh, unique over all handshakes and keypairs of the tunnel. Fails only with kLowOrderKey, for a peer
// that is not usable().
HandshakeResult<CreatedInitiation> create_initiation(const LocalIdentity& local, const RemoteIdentity& remote,
                                                     uint32_t local_index, const Tai64n& timestamp, Rng& rng) noexcept;

// On failure the outstanding initiation stays as good as it was: a genuine response may still come.
HandshakeResult<SessionKeys> consume_response(const LocalIdentity& local, const PresharedKey& psk,
                                              const SentInitiation& sent, const ResponseMessage& message) noexcept;

// --- Responder
// ---------------------------------------------------------------------------------------------------------

// An initiation of which only the static key has been decrypted. Anybody can have made it: the key is a claim to look
// the peer up by, nothing more.
struct ClaimedInitiation {
  PublicKey static_key;
  SymmetricState symmetric;
};

// An authentic initiation, but possibly an old one: InitiationGuard decides.
struct ReceivedInitiation {
  Tai64n timestamp;
  uint32_t remote_index;
  PublicKey ephemeral;
  SymmetricState symmetric;  // after message 1
};

struct CreatedResponse {
  ResponseMessage message;  // macs zero
  SessionKeys keys;         // receive with them at once; send only after the peer has (paper, section 5.1)
};

HandshakeResult<ClaimedInitiation> decrypt_initiation_static(const LocalIdentity& local,
                                                             const InitiationMessage& message) noexcept;

// remote: the peer whose key is claimed.static_key.
HandshakeResult<ReceivedInitiation> finish_initiation(ClaimedInitiation claimed, const RemoteIdentity& remote,
                                                      const InitiationMessage& message) noexcept;

HandshakeResult<CreatedResponse> create_response(ReceivedInitiation received, const RemoteIdentity& remote,
                                                 const PresharedKey& psk, uint32_t local_index, Rng& rng) noexcept;

// Per peer, for as long as the peer exists: survives changes of the private key and the tunnel going down. Fed from
// fully authenticated initiations only.
class InitiationGuard {
 public:
  // nullopt: newer than all before and not too soon; the caller commits.
  std::optional<HandshakeError> check(const Tai64n& timestamp, MonoTime now) const noexcept;
  void commit(const Tai64n& timestamp, MonoTime now) noexcept;

 private:
  Tai64n greatest_;
  MonoTime accepted_at_;
};

}  // namespace sluice
