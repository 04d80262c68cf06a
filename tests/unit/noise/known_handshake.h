// A handshake of tests/vectors/handshake.json as the types of control/noise, and a generator that yields given bytes.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "control/noise/handshake.h"
#include "dataplane/crypto/primitives.h"
#include "tests/support/hex.h"
#include "tests/support/vectors.h"

namespace sluice::test {

template <class T>
T from_hex_as(const std::string& text) {  // T: any of the wire's and the library's byte-wise types
  const std::vector<std::byte> bytes = from_hex(text);
  T value{};
  EXPECT_EQ(bytes.size(), sizeof value);
  std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
  return value;
}

inline Secret<32> secret_from_hex(const std::string& text) {
  const auto bytes = from_hex_as<std::array<std::byte, 32>>(text);
  return Secret<32>(std::span<const std::byte, 32>(bytes));
}

template <class T>
ConstBytes bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}
template <class T>
Bytes writable_bytes_of(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}
inline std::string hex(ConstBytes bytes) {
  std::string text;
  for (const std::byte b : bytes)
    text += std::string(1, "0123456789abcdef"[int(b) / 16]) + "0123456789abcdef"[int(b) % 16];
  return text;
}

// Yields the given bytes once, in order, then fails the test.
class FixedRng final : public Rng {
 public:
  explicit FixedRng(const std::string& bytes) : bytes_(from_hex(bytes)) {}
  void fill(std::span<std::byte> out) noexcept override {
    ASSERT_LE(at_ + out.size(), bytes_.size());
    std::memcpy(out.data(), bytes_.data() + at_, out.size());
    at_ += out.size();
  }

 private:
  std::vector<std::byte> bytes_;
  size_t at_ = 0;
};

// Both sides of one vector.
struct KnownHandshake {
  explicit KnownHandshake(const nlohmann::json& vector)
      : ready(crypto_init()),
        v(vector),
        initiator(*LocalIdentity::make(secret_from_hex(v["initiator_static_private"]))),
        responder(*LocalIdentity::make(secret_from_hex(v["responder_static_private"]))),
        responder_seen(RemoteIdentity::make(initiator, responder.public_key)),
        initiator_seen(RemoteIdentity::make(responder, initiator.public_key)),
        psk(secret_from_hex(v["preshared_key"])),
        timestamp(from_hex_as<Tai64n>(v["timestamp"])),
        initiation(from_hex_as<InitiationMessage>(v["initiation"])),
        response(from_hex_as<ResponseMessage>(v["response"])) {}

  static KnownHandshake load(const std::string& id) {
    const nlohmann::json file = load_vectors("handshake.json");
    for (const auto& vector : file["vectors"])
      if (vector["id"] == id) return KnownHandshake(vector);
    throw std::runtime_error("no handshake vector " + id);
  }

  CreatedInitiation create_initiation() const {
    FixedRng rng(v["initiator_ephemeral_private"]);
    auto created = sluice::create_initiation(initiator, responder_seen, v["initiator_index"], timestamp, rng);
    EXPECT_TRUE(created);
    return std::move(*created);
  }
  // The responder's steps up to the authentic timestamp.
  HandshakeResult<ReceivedInitiation> receive(const InitiationMessage& message) const {
    auto claimed = decrypt_initiation_static(responder, message);
    if (!claimed) return claimed.error();
    return finish_initiation(std::move(*claimed), initiator_seen, message);
  }
  CreatedResponse create_response() const {
    auto received = receive(initiation);
    EXPECT_TRUE(received);
    FixedRng rng(v["responder_ephemeral_private"]);
    auto created = sluice::create_response(std::move(*received), initiator_seen, psk, v["responder_index"], rng);
    EXPECT_TRUE(created);
    return std::move(*created);
  }

  bool ready;
  nlohmann::json v;
  LocalIdentity initiator;
  LocalIdentity responder;
  RemoteIdentity responder_seen;  // by the initiator
  RemoteIdentity initiator_seen;  // by the responder
  PresharedKey psk;
  Tai64n timestamp;
  InitiationMessage initiation;  // with its macs
  ResponseMessage response;      // with its macs
};

}  // namespace sluice::test
