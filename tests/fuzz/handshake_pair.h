// Two parties with fixed keys for the targets that alter genuine handshake messages. The input is XORed over the
// message: the empty input is the genuine one, so a fuzzer starts where everything still fits.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "control/noise/cookie.h"
#include "control/noise/handshake.h"
#include "dataplane/crypto/primitives.h"
#include "tests/support/manual_clock.h"
#include "tests/support/seeded_rng.h"

namespace sluice::test {

inline void require(bool condition) {
  if (!condition) std::abort();
}

struct HandshakePair {
  const bool ready = crypto_init();  // before anything else
  SeededRng rng;
  ManualClock clock;
  LocalIdentity initiator = *LocalIdentity::make(generate_private_key(rng));
  LocalIdentity responder = *LocalIdentity::make(generate_private_key(rng));
  RemoteIdentity responder_seen = RemoteIdentity::make(initiator, responder.public_key);
  RemoteIdentity initiator_seen = RemoteIdentity::make(responder, initiator.public_key);
  PresharedKey psk = generate_private_key(rng);
  CreatedInitiation initiation =
      std::move(*create_initiation(initiator, responder_seen, 1, Tai64n::whitened(clock.wall()), rng));
};

template <class Message>
Message altered(Message message, const uint8_t* data, size_t size) {
  const auto bytes = std::as_writable_bytes(std::span(&message, 1));
  for (size_t i = 0; i < std::min(size, bytes.size()); ++i) bytes[i] ^= std::byte{data[i]};
  return message;
}

template <class Message>
bool same_bytes(const Message& a, const Message& b, size_t from, size_t to) {
  const auto* x = reinterpret_cast<const std::byte*>(&a);
  const auto* y = reinterpret_cast<const std::byte*>(&b);
  return std::equal(x + from, x + to, y + from);
}

}  // namespace sluice::test
