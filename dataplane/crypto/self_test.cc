#include "dataplane/crypto/self_test.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "dataplane/crypto/primitives.h"

namespace sluice {
namespace {

constexpr uint64_t kNonce = 0x0123456789abcdef;
constexpr size_t kMaxSize = 512;

Secret<32> test_key() noexcept {  // 1, 2, ... 32
  Secret<32> key;
  for (size_t i = 0; i < key.kSize; ++i) key.bytes()[i] = static_cast<std::byte>(i + 1);
  return key;
}

// Ciphertexts under the test key after which Poly1305's accumulator is a number whose low limbs are (almost) zero, in
// 26-bit limbs as in 44-bit ones. An implementation that does not carry on after its last reduction then computes a
// wrong tag: the AVX-512 code of IPsec-MB 1.3 (without IFMA), with one in about 10^7 texts of 256 bytes or more. All
// blocks are zero but the last two; tests/vectors/make_poly1305_edges.py has the arithmetic.
struct EdgeText {
  size_t blocks;
  uint64_t last_but_one, last_low, last_high;  // little-endian; the high half of the last but one is zero
};
constexpr EdgeText kEdgeTexts[] = {
    {16, 0x6513270e269e0d37, 0x8506cc998e709e89, 0xa5caf764b0e49dca},  // accumulator 5
    {16, 0x9531985d5d9dc9f8, 0x68d5de999f51f515, 0x7723e82664e84190},  // 2^44
    {16, 0x90c192cfd3ac94af, 0x725ee0da4937692f, 0xa9c55794bb05e0e2},  // 2^64
    {16, 0x0fd630f1f29d0da9, 0xb5be4a5a1cb8e213, 0x73c4f56ff065b661},  // 2^88
    {16, 0x2217beaddbc496cb, 0xc45d48942961f338, 0x8ecc97b03fab2394},  // 2^128
    {32, 0xae97ba94d0eda82f, 0x2e9fe60758e607c7, 0x25c3cc730e94f364},  // 5
    {32, 0x923a736994e3bf91, 0x57885903d23a597b, 0xb154f7e776c05e93},  // 2^44
    {32, 0x18f135d25f557203, 0xe64bedf6521e838a, 0x9936f168ae95040e},  // 2^64
    {32, 0x7f15052434b9b5df, 0xe28c0a5076f2c197, 0xeeab199fa16f4348},  // 2^88
    {32, 0x881ed162ae2eb154, 0x1e5a36b46d598fcc, 0x1ba035c6e702f42a},  // 2^128
};

using Message = std::array<std::byte, kMaxSize + kTagSize>;

// Copies of a message in one burst: vector engines have up to 16 lanes, and each must be right.
constexpr size_t kCopies = 17;

// Seals what libsodium seals, opens it, and refuses it when a bit differs.
bool handles(AeadEngine& engine, ConstBytes plain) noexcept {
  const Secret<32> key = test_key();
  Message expected;
  const Bytes sealed = Bytes(expected).first(plain.size() + kTagSize);
  aead_seal(key, kNonce, plain, {}, sealed);

  std::array<Message, kCopies> actual;
  std::array<SealJob, kCopies> seal;
  std::array<OpenJob, kCopies> open;
  for (size_t i = 0; i < kCopies; ++i) {
    const Bytes text = Bytes(actual[i]).first(plain.size());
    std::ranges::copy(plain, text.begin());
    seal[i] = {&key, kNonce, text, actual[i].data() + plain.size()};
    open[i] = {&key, kNonce, text, actual[i].data() + plain.size()};
  }
  engine.seal(seal);
  for (Message& message : actual)
    if (!std::ranges::equal(Bytes(message).first(sealed.size()), sealed)) return false;
  engine.open(open);
  for (const OpenJob& job : open)
    if (!job.ok || !std::ranges::equal(job.text, plain)) return false;

  for (Message& message : actual) {
    std::ranges::copy(sealed, message.begin());
    message[sealed.size() / 2] ^= std::byte{1};
  }
  engine.open(open);
  return std::ranges::all_of(open, [](const OpenJob& job) { return !job.ok && is_zero_constant_time(job.text); });
}

// The text whose ciphertext under the test key is the edge: enciphering twice gives it back.
bool handles(AeadEngine& engine, const EdgeText& edge) noexcept {
  std::array<std::byte, kMaxSize> ciphertext{};
  const size_t size = edge.blocks * 16;
  const uint64_t last_blocks[] = {edge.last_but_one, 0, edge.last_low, edge.last_high};
  std::memcpy(ciphertext.data() + size - sizeof last_blocks, last_blocks, sizeof last_blocks);
  Message plain;
  aead_seal(test_key(), kNonce, ConstBytes(ciphertext).first(size), {}, Bytes(plain).first(size + kTagSize));
  return handles(engine, ConstBytes(plain).first(size));
}

}  // namespace

bool self_test(AeadEngine& engine) noexcept {
  constexpr size_t kSizes[] = {0, 1, 16, 63, 64, 65, 255, 293, kMaxSize};
  std::array<std::byte, kMaxSize> plain;
  for (size_t i = 0; i < plain.size(); ++i) plain[i] = static_cast<std::byte>(i * 7);
  return std::ranges::all_of(kSizes, [&](size_t size) { return handles(engine, ConstBytes(plain).first(size)); }) &&
         std::ranges::all_of(kEdgeTexts, [&](const EdgeText& edge) { return handles(engine, edge); });
}

}  // namespace sluice
