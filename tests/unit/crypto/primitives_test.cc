#include "dataplane/crypto/primitives.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/support/hex.h"
#include "tests/support/seeded_rng.h"
#include "tests/support/vectors.h"

namespace sluice {
namespace {

using test::from_hex;

std::vector<std::byte> hex_field(const nlohmann::json& object, const char* field) {
  return from_hex(object[field].get<std::string>());
}

std::vector<std::byte> to_vector(ConstBytes bytes) { return {bytes.begin(), bytes.end()}; }

Secret<32> secret(ConstBytes bytes) { return Secret<32>(bytes.first<32>()); }

PublicKey public_key(ConstBytes bytes) {
  PublicKey key;
  std::ranges::copy(bytes.first<32>(), key.bytes.begin());
  return key;
}

TEST(X25519, Wycheproof) {  // a zero shared secret is a failure, also where the file calls it acceptable
  const auto file = test::load_vectors("wycheproof/x25519_test.json");
  size_t tests = 0, zero = 0;
  for (const auto& group : file["testGroups"])
    for (const auto& t : group["tests"]) {
      SCOPED_TRACE(t["tcId"].get<int>());
      const auto expected = hex_field(t, "shared");
      const bool is_zero = is_zero_constant_time(expected);
      Secret<32> shared;
      std::ranges::fill(shared.bytes(), std::byte{0xa5});
      EXPECT_EQ(x25519(secret(hex_field(t, "private")), public_key(hex_field(t, "public")), shared), !is_zero);
      EXPECT_EQ(to_vector(shared.bytes()), expected);
      ++tests;
      zero += is_zero;
    }
  EXPECT_EQ(tests, 518u);
  EXPECT_GT(zero, 0u);
}

TEST(X25519, LowOrderPointsFail) {
  test::SeededRng rng;
  const PrivateKey own = generate_private_key(rng);
  const auto vectors = test::load_vectors("small.json");
  const auto& points = vectors["reserved_keys"]["low_order_points"];
  ASSERT_FALSE(points.empty());
  for (const auto& point : points)
    for (int high_bit = 0; high_bit < 2; ++high_bit) {
      PublicKey theirs = public_key(from_hex(point.get<std::string>()));
      if (high_bit) theirs.bytes[31] |= std::byte{0x80};  // masked by RFC 7748: the same point
      Secret<32> shared;
      std::ranges::fill(shared.bytes(), std::byte{0xa5});
      EXPECT_FALSE(x25519(own, theirs, shared)) << point;
      EXPECT_TRUE(shared.is_zero()) << point;
    }
}

TEST(X25519, ClampingSmallJson) {
  const auto vectors = test::load_vectors("small.json");
  ASSERT_FALSE(vectors["clamping"].empty());
  for (const auto& v : vectors["clamping"]) {
    PrivateKey key = secret(hex_field(v, "private"));
    clamp(key);
    EXPECT_EQ(to_vector(key.bytes()), hex_field(v, "stored"));
  }
}

TEST(X25519, PublicKeysAreMultiplesOfTheBasePoint) {  // computed in the Edwards form: against the ladder
  PublicKey base;
  base.bytes[0] = std::byte{9};
  const auto expect_multiple = [&](const PrivateKey& key) {
    Secret<32> multiple;
    ASSERT_TRUE(x25519(key, base, multiple));
    EXPECT_EQ(to_vector(public_key_of(key).bytes), to_vector(multiple.bytes()));
  };
  test::SeededRng rng;
  for (int i = 0; i < 1000; ++i) expect_multiple(generate_private_key(rng));
  for (const std::byte fill : {std::byte{0}, std::byte{0xff}}) {  // the smallest and the largest
    PrivateKey key;
    std::ranges::fill(key.bytes(), fill);
    clamp(key);
    expect_multiple(key);
  }
}

TEST(X25519, BothSidesAgree) {
  test::SeededRng rng;
  const PrivateKey a = generate_private_key(rng), b = generate_private_key(rng);
  Secret<32> ab, ba;
  ASSERT_TRUE(x25519(a, public_key_of(b), ab));
  ASSERT_TRUE(x25519(b, public_key_of(a), ba));
  EXPECT_TRUE(ab.equals(ba));
  PrivateKey clamped = a.clone();
  clamp(clamped);
  EXPECT_TRUE(clamped.equals(a));  // generated keys are stored clamped
}

TEST(Aead, NonceIsFourZeroBytesAndALittleEndianCounter) {
  EXPECT_EQ(to_vector(aead_nonce(0x0123456789abcdef)), from_hex("00000000efcdab8967452301"));
}

// Both AEADs have Wycheproof files of the same shape; they differ in nonce size and in the function called.
struct Verdicts {
  size_t opened = 0, refused = 0, wrong_nonce_size = 0;
};

template <size_t kNonceSize, class Seal, class Open>
Verdicts run_wycheproof(const char* name, Seal seal, Open open) {
  const auto file = test::load_vectors(name);
  Verdicts verdicts;
  for (const auto& group : file["testGroups"])
    for (const auto& t : group["tests"]) {
      SCOPED_TRACE(t["tcId"].get<int>());
      const auto iv = hex_field(t, "iv");
      const bool valid = t["result"].get<std::string>() == "valid";
      if (iv.size() != kNonceSize) {  // the type of the argument excludes these
        EXPECT_FALSE(valid);
        ++verdicts.wrong_nonce_size;
        continue;
      }
      std::array<std::byte, kNonceSize> nonce;
      std::ranges::copy(iv, nonce.begin());
      const Secret<32> key = secret(hex_field(t, "key"));
      const auto aad = hex_field(t, "aad"), plain = hex_field(t, "msg");
      auto sealed = hex_field(t, "ct");
      std::ranges::copy(hex_field(t, "tag"), std::back_inserter(sealed));

      std::vector<std::byte> text(plain.size(), std::byte{0xa5});
      EXPECT_EQ(open(key, nonce, sealed, aad, text), valid);
      EXPECT_EQ(text, valid ? plain : std::vector<std::byte>(plain.size()));  // forged text is zeroed
      ++(valid ? verdicts.opened : verdicts.refused);
      if (!valid) continue;
      std::vector<std::byte> out(sealed.size());
      seal(key, nonce, plain, aad, out);
      EXPECT_EQ(out, sealed);
    }
  return verdicts;
}

TEST(Aead, Wycheproof) {
  const Verdicts v = run_wycheproof<12>(
      "wycheproof/chacha20_poly1305_test.json",
      [](auto& key, auto& nonce, ConstBytes text, ConstBytes ad, Bytes out) { aead_seal(key, nonce, text, ad, out); },
      [](auto& key, auto& nonce, ConstBytes sealed, ConstBytes ad, Bytes text) {
        return aead_open(key, nonce, sealed, ad, text);
      });
  EXPECT_EQ(v.opened, 256u);
  EXPECT_EQ(v.refused, 60u);
  EXPECT_EQ(v.wrong_nonce_size, 9u);
}

TEST(Xaead, Wycheproof) {
  const Verdicts v = run_wycheproof<24>(
      "wycheproof/xchacha20_poly1305_test.json",
      [](auto& key, auto& nonce, ConstBytes text, ConstBytes ad, Bytes out) {
        xaead_seal(key.bytes(), nonce, text, ad, out);
      },
      [](auto& key, auto& nonce, ConstBytes sealed, ConstBytes ad, Bytes text) {
        return xaead_open(key.bytes(), nonce, sealed, ad, text);
      });
  EXPECT_EQ(v.opened, 246u);
  EXPECT_EQ(v.refused, 60u);
  EXPECT_EQ(v.wrong_nonce_size, 9u);
}

TEST(Aead, SizesThatDoNotFitAreRefused) {
  const Secret<32> key;
  std::vector<std::byte> sealed(40), text(24), more(25);
  aead_seal(key, 7, text, {}, sealed);
  std::ranges::fill(more, std::byte{0xa5});
  EXPECT_FALSE(aead_open(key, 7, sealed, {}, more));
  EXPECT_TRUE(is_zero_constant_time(more));
  EXPECT_FALSE(aead_open(key, 7, ConstBytes(sealed).first(15), {}, {}));
  EXPECT_TRUE(aead_open(key, 7, sealed, {}, text));
  EXPECT_FALSE(aead_open(key, 8, sealed, {}, text));
}

TEST(Aead, WorksInPlace) {
  const Secret<32> key;
  std::vector<std::byte> buffer(32 + kTagSize, std::byte{3});
  const Bytes text = Bytes(buffer).first(32);
  aead_seal(key, 1, text, {}, buffer);
  ASSERT_TRUE(aead_open(key, 1, buffer, {}, text));
  EXPECT_EQ(to_vector(text), std::vector<std::byte>(32, std::byte{3}));
}

}  // namespace
}  // namespace sluice
