#include "dataplane/crypto/blake2s.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "tests/support/hex.h"
#include "tests/support/vectors.h"

namespace sluice {
namespace {

using test::from_hex;

ConstBytes text(std::string_view s) { return std::as_bytes(std::span(s)); }

std::vector<std::byte> to_vector(ConstBytes bytes) { return {bytes.begin(), bytes.end()}; }

Secret<32> secret(std::string_view hex) {
  const auto bytes = from_hex(hex);
  return Secret<32>(std::span<const std::byte, 32>(bytes));
}

TEST(Blake2s, KnownAnswers) {  // RFC 7693, appendix B, and the empty input
  EXPECT_EQ(to_vector(blake2s({text("abc")})),
            from_hex("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"));
  EXPECT_EQ(to_vector(blake2s({})), from_hex("69217a3079908094e11121d042354a7c1f55b6482ca1a51e1b250dfd1ed0eef9"));
}

TEST(Blake2s, PartsAreConcatenated) {
  std::vector<std::byte> input(200);
  for (size_t i = 0; i < input.size(); ++i) input[i] = static_cast<std::byte>(i);
  const ConstBytes all(input);
  const Hash whole = blake2s({all});
  for (const size_t cut : std::initializer_list<size_t>{0, 1, 63, 64, 65, 128, 199, 200})
    EXPECT_EQ(blake2s({all.first(cut), {}, all.subspan(cut)}), whole) << cut;
}

TEST(Hmac, EmptyKeyAndInput) {  // X-03; values from Python's hmac with hashlib.blake2s
  EXPECT_EQ(to_vector(hmac_blake2s({}, {}).bytes()),
            from_hex("eaf4bb25938f4d20e72656bbbc7a9bf63c0c18537333c35bdb67db1402661acd"));
  EXPECT_EQ(to_vector(hmac_blake2s(text("key"), {}).bytes()),
            from_hex("67148074efc0f6741b474ef81c4d98d266e880d372fe723d2569b1d414d234be"));
  EXPECT_EQ(to_vector(hmac_blake2s({}, {text("input")}).bytes()),
            from_hex("c15f3fc439f66c9e8ebee0e8ed626456432bbf15da1f18bc2570fe53c9e94c73"));
}

TEST(Hmac, KeysAroundTheBlockSize) {  // as above; the key is 0, 1, 2, ...
  std::vector<std::byte> key(65);
  for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::byte>(i);
  EXPECT_EQ(to_vector(hmac_blake2s(ConstBytes(key).first(64), {text("in"), text("put")}).bytes()),
            from_hex("7c4554aa29ed04b6f3bdaf45a3e05b97bd1267a6386d9cc385e7a4bc3aebde0d"));
  EXPECT_EQ(to_vector(hmac_blake2s(key, {text("input")}).bytes()),
            from_hex("b9a021a9b550479145d17b549adf01eed3ec0d68e542fc83556fdad937363725"));
}

TEST(Kdf, SmallJson) {
  const auto vectors = test::load_vectors("small.json");
  ASSERT_FALSE(vectors["kdf"].empty());
  for (const auto& v : vectors["kdf"]) {
    SCOPED_TRACE(v["id"].get<std::string>());
    const Secret<32> ck = secret(v["chaining_key"].get<std::string>());
    const auto input = from_hex(v["input"].get<std::string>());
    const auto t = [&](size_t i) { return secret(v["t1_t2_t3"][i].get<std::string>()); };
    const Kdf1 one = kdf1(ck, input);
    const Kdf2 two = kdf2(ck, input);
    const Kdf3 three = kdf3(ck, input);
    for (const Secret<32>* t1 : {&one.t1, &two.t1, &three.t1}) EXPECT_TRUE(t1->equals(t(0)));
    for (const Secret<32>* t2 : {&two.t2, &three.t2}) EXPECT_TRUE(t2->equals(t(1)));
    EXPECT_TRUE(three.t3.equals(t(2)));
  }
}

TEST(Mac, OfAnInitiationThatLinuxMade) {
  const auto vectors = test::load_vectors("mac1_known.json");
  ASSERT_FALSE(vectors["vectors"].empty());
  for (const auto& v : vectors["vectors"]) {
    const auto message = from_hex(v["initiation"].get<std::string>());
    const auto responder = from_hex(v["responder_static_public"].get<std::string>());
    ASSERT_EQ(message.size(), sizeof(InitiationMessage));
    const Hash key = blake2s({text("mac1----"), responder});
    const ConstBytes all(message);
    const size_t covered = offsetof(InitiationMessage, mac1);
    EXPECT_TRUE(equal_constant_time(blake2s_mac(key, {all.first(covered)}), all.subspan(covered, 16)));
    EXPECT_FALSE(equal_constant_time(blake2s_mac(key, {all.first(covered - 1)}), all.subspan(covered, 16)));
  }
}

}  // namespace
}  // namespace sluice
