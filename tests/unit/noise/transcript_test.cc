// The handshake against transcripts that others computed: every chaining key, hash, key and Diffie-Hellman result.
#include <gtest/gtest.h>

#include "control/noise/symmetric.h"
#include "dataplane/crypto/primitives.h"
#include "tests/unit/noise/known_handshake.h"

namespace sluice {
namespace {

using test::FixedRng;
using test::from_hex;
using test::from_hex_as;
using test::hex;
using test::KnownHandshake;
using test::secret_from_hex;

// Walks one side through a transcript and compares after every step.
class Walker {
 public:
  Walker(const nlohmann::json& steps, SymmetricState start) : state(std::move(start)), steps_(steps) {}

  void expect_step(const std::string& name) {
    while (at_ < steps_.size() && steps_[at_]["step"] != name) ++at_;
    ASSERT_LT(at_, steps_.size()) << "no step " << name;
    const auto& step = steps_[at_];
    EXPECT_EQ(hex(state.chaining_key().bytes()), step["ck"]) << name;
    EXPECT_EQ(hex(state.hash()), step["h"]) << name;
    if (step.contains("k")) {
      EXPECT_EQ(hex(state.key().bytes()), step["k"]) << name;
    }
    ++compared;
  }
  const nlohmann::json& step(const std::string& name) const {
    for (const auto& s : steps_)
      if (s["step"] == name) return s;
    throw std::runtime_error("no step " + name);
  }
  void mix_dh(const std::string& name, const Secret<32>& shared) {
    EXPECT_EQ(hex(shared.bytes()), step(name)["dh"]) << name;
    if (name.starts_with("msg1"))
      state.mix_key(shared);
    else
      state.mix_secret(shared);
    expect_step(name);
  }

  SymmetricState state;
  size_t compared = 0;

 private:
  const nlohmann::json& steps_;
  size_t at_ = 0;
};

Secret<32> dh(const Secret<32>& own, const PublicKey& theirs) {
  Secret<32> shared;
  EXPECT_TRUE(x25519(own, theirs, shared));
  return shared;
}

TEST(Transcript, EveryValueOfEveryKnownHandshakeOnBothSides) {  // H-01, H-03, H-15
  const auto file = test::load_vectors("handshake.json");
  ASSERT_EQ(file["vectors"].size(), 4u);
  for (const auto& vector : file["vectors"]) {
    SCOPED_TRACE(vector["id"].get<std::string>());
    const KnownHandshake known(vector);
    ASSERT_TRUE(known.ready);
    EXPECT_EQ(hex(known.initiator.public_key.bytes), vector["initiator_static_public"]);
    EXPECT_EQ(hex(known.responder.public_key.bytes), vector["responder_static_public"]);
    EXPECT_EQ(hex(known.responder.mac1_key), vector["mac1_key_to_responder"]);
    EXPECT_EQ(hex(known.responder_seen.mac1_key), vector["mac1_key_to_responder"]);
    EXPECT_EQ(hex(known.initiator.mac1_key), vector["mac1_key_to_initiator"]);

    const Secret<32> ephemeral_i = secret_from_hex(vector["initiator_ephemeral_private"]);
    const Secret<32> ephemeral_r = secret_from_hex(vector["responder_ephemeral_private"]);
    const PublicKey public_i = public_key_of(ephemeral_i), public_r = public_key_of(ephemeral_r);
    for (const bool initiator : {true, false}) {
      SCOPED_TRACE(initiator ? "initiator" : "responder");
      Walker walk(vector["transcript"], SymmetricState(known.responder.public_key));
      const auto field = [&](const std::string& name, ConstBytes text) {
        const std::vector<std::byte> sealed = from_hex(walk.step(name)["ciphertext"].get<std::string>());
        std::vector<std::byte> out(initiator == name.starts_with("msg1") ? sealed.size() : text.size());
        if (initiator == name.starts_with("msg1")) {
          walk.state.encrypt_and_hash(text, out);
          EXPECT_EQ(out, sealed) << name;
        } else {
          EXPECT_TRUE(walk.state.decrypt_and_hash(sealed, out)) << name;
          EXPECT_EQ(hex(out), hex(text)) << name;
        }
        walk.expect_step(name);
      };
      std::vector<std::string> names;
      for (const auto& step : vector["transcript"]) names.push_back(step["step"]);
      walk.expect_step(names[1]);  // pre-message
      walk.state.mix_ephemeral(public_i);
      walk.expect_step(names[2]);
      walk.mix_dh(names[3],
                  initiator ? dh(ephemeral_i, known.responder.public_key) : dh(known.responder.private_key, public_i));
      field(names[4], known.initiator.public_key.bytes);
      walk.mix_dh(names[5], (initiator ? known.responder_seen : known.initiator_seen).static_static.clone());
      field(names[6], known.timestamp.bytes);
      walk.state.mix_ephemeral(public_r);
      walk.expect_step(names[7]);
      walk.mix_dh(names[8], initiator ? dh(ephemeral_i, public_r) : dh(ephemeral_r, public_i));
      walk.mix_dh(names[9],
                  initiator ? dh(known.initiator.private_key, public_r) : dh(ephemeral_r, known.initiator.public_key));
      walk.state.mix_psk(known.psk);
      walk.expect_step(names[10]);
      field(names[11], {});
      EXPECT_EQ(walk.compared, 11u);
      const Kdf2 keys = walk.state.split();
      EXPECT_EQ(hex(keys.t1.bytes()), vector["initiator_sending_key"]);
      EXPECT_EQ(hex(keys.t2.bytes()), vector["initiator_receiving_key"]);
    }
  }
}

TEST(Transcript, PublicNoiseVectorWithAnotherPrologue) {
  const auto file = test::load_vectors("noise_ikpsk2_public.json");
  const auto& v = file["vector"];
  const auto prologue = from_hex(v["init_prologue"].get<std::string>());
  const Secret<32> static_i = secret_from_hex(v["init_static"]), static_r = secret_from_hex(v["resp_static"]);
  const Secret<32> ephemeral_i = secret_from_hex(v["init_ephemeral"]);
  const Secret<32> ephemeral_r = secret_from_hex(v["resp_ephemeral"]);
  const PublicKey static_public_i = public_key_of(static_i), static_public_r = public_key_of(static_r);
  const PublicKey public_i = public_key_of(ephemeral_i), public_r = public_key_of(ephemeral_r);
  ASSERT_EQ(hex(static_public_r.bytes), v["init_remote_static"]);

  SymmetricState state(prologue, static_public_r);
  std::string wire;
  const auto seal = [&](ConstBytes text) {
    std::vector<std::byte> sealed(text.size() + kTagSize);
    state.encrypt_and_hash(text, sealed);
    wire += hex(sealed);
  };
  wire = hex(public_i.bytes);
  state.mix_ephemeral(public_i);
  state.mix_key(dh(ephemeral_i, static_public_r));
  seal(static_public_i.bytes);
  state.mix_key(dh(static_i, static_public_r));
  seal(from_hex(v["messages"][0]["payload"].get<std::string>()));
  EXPECT_EQ(wire, v["messages"][0]["ciphertext"]);

  wire = hex(public_r.bytes);
  state.mix_ephemeral(public_r);
  state.mix_secret(dh(ephemeral_r, public_i));
  state.mix_secret(dh(ephemeral_r, static_public_i));
  state.mix_psk(secret_from_hex(v["init_psks"][0]));
  seal(from_hex(v["messages"][1]["payload"].get<std::string>()));
  EXPECT_EQ(wire, v["messages"][1]["ciphertext"]);
  EXPECT_EQ(hex(state.hash()), v["handshake_hash"]);

  // The transport keys, by the first message in each direction.
  const Kdf2 keys = state.split();
  for (const int i : {2, 3}) {
    const auto payload = from_hex(v["messages"][i]["payload"].get<std::string>());
    std::vector<std::byte> sealed(payload.size() + kTagSize);
    aead_seal(i == 2 ? keys.t1 : keys.t2, aead_nonce(0), payload, {}, sealed);
    EXPECT_EQ(hex(sealed), v["messages"][i]["ciphertext"]);
  }
}

TEST(Transcript, ForgedFieldLeavesTheStateAsItWas) {
  SymmetricState state(PublicKey{});
  state.mix_key(Secret<32>());
  const Hash before = state.hash();
  std::array<std::byte, 48> forged{};
  std::array<std::byte, 32> text;
  text.fill(std::byte{0x55});
  EXPECT_FALSE(state.decrypt_and_hash(forged, text));
  EXPECT_EQ(state.hash(), before);
  EXPECT_TRUE(is_zero_constant_time(text));
}

}  // namespace
}  // namespace sluice
