// Every engine by its name, against libsodium's one-shot functions (crypto/primitives.h), which have Wycheproof's
// blessing.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sodium.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <typeinfo>
#include <vector>

#include "dataplane/crypto/aead_lanes.h"
#include "dataplane/crypto/primitives.h"
#include "dataplane/crypto/select.h"
#include "dataplane/crypto/self_test.h"
#include "tests/support/guarded_pages.h"
#include "tests/support/hex.h"
#include "tests/support/seeded_rng.h"
#include "tests/support/vectors.h"
#include "tests/unit/crypto/portable_lanes.h"

namespace sluice {
namespace {

using test::from_hex;
using test::GuardedPages;
using test::SeededRng;
using Buffer = std::vector<std::byte>;

constexpr size_t kLongest = 2100;

// All that run here, and the text of "lanes" with either arithmetic (portable_lanes.h).
constexpr std::string_view kPortable26 = "lanes-portable26", kPortable44 = "lanes-portable44";

std::vector<std::string> engine_names() {
  const auto available = available_engines();
  std::vector<std::string> names(available.begin(), available.end());
  for (std::string_view name : {kPortable26, kPortable44}) names.emplace_back(name);
  return names;
}

std::unique_ptr<AeadEngine> make_any_engine(std::string_view name) {
  if (name == kPortable26) return make_lanes_engine(kPortable26, test::kPortableRadix26);
  if (name == kPortable44) return make_lanes_engine(kPortable44, test::kPortableRadix44);
  return make_engine(name);
}

Secret<32> random_key(Rng& rng) {
  Secret<32> key;
  rng.fill(key.bytes());
  return key;
}

Buffer random_bytes(Rng& rng, size_t size) {
  Buffer bytes(size);
  rng.fill(bytes);
  return bytes;
}

Buffer reference_seal(const Secret<32>& key, uint64_t nonce, ConstBytes plain) {
  Buffer sealed(plain.size() + kTagSize);
  aead_seal(key, nonce, plain, {}, sealed);
  return sealed;
}

// A message in a buffer that is larger, so that writes outside can be seen.
class Packet {
 public:
  static constexpr size_t kMargin = 96;

  Packet(Rng& rng, size_t size, size_t misalignment)
      : key(random_key(rng)),
        plain(random_bytes(rng, size)),
        storage_(kMargin + misalignment + size + kTagSize + kMargin, std::byte{0xcc}),
        start_(kMargin + misalignment) {
    rng.fill(std::as_writable_bytes(std::span(&nonce, 1)));
    sealed = reference_seal(key, nonce, plain);
  }

  void put(ConstBytes bytes) { std::ranges::copy(bytes, storage_.begin() + static_cast<ptrdiff_t>(start_)); }
  Bytes text() { return Bytes(storage_).subspan(start_, plain.size()); }
  std::byte* tag() { return storage_.data() + start_ + plain.size(); }
  ConstBytes text_and_tag() const { return ConstBytes(storage_).subspan(start_, plain.size() + kTagSize); }
  bool surroundings_untouched() const {
    const auto untouched = [](ConstBytes bytes) {
      return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0xcc}; });
    };
    const ConstBytes all(storage_);
    return untouched(all.first(start_)) && untouched(all.subspan(start_ + sealed.size()));
  }

  SealJob seal_job() {
    put(plain);
    return {&key, nonce, text(), tag()};
  }
  OpenJob open_job() {
    put(sealed);
    return {&key, nonce, text(), tag()};
  }

  Secret<32> key;
  uint64_t nonce = 0;
  Buffer plain, sealed;

 private:
  Buffer storage_;
  size_t start_;
};

bool equal(ConstBytes a, ConstBytes b) { return std::ranges::equal(a, b); }
bool all_zero(ConstBytes bytes) { return is_zero_constant_time(bytes); }

// Seals and opens a burst and compares everything with the reference.
void expect_burst_right(AeadEngine& engine, std::span<Packet> packets) {
  std::vector<SealJob> seal;
  for (Packet& p : packets) seal.push_back(p.seal_job());
  engine.seal(seal);
  for (size_t i = 0; i < packets.size(); ++i) {
    ASSERT_TRUE(equal(packets[i].text_and_tag(), packets[i].sealed)) << "sealing job " << i;
    ASSERT_TRUE(packets[i].surroundings_untouched()) << "sealing job " << i;
  }
  std::vector<OpenJob> open;
  for (Packet& p : packets) open.push_back(p.open_job());
  engine.open(open);
  for (size_t i = 0; i < packets.size(); ++i) {
    ASSERT_TRUE(open[i].ok) << "job " << i;
    ASSERT_TRUE(equal(packets[i].text(), packets[i].plain)) << "opening job " << i;
    ASSERT_TRUE(equal({packets[i].tag(), kTagSize}, ConstBytes(packets[i].sealed).last(kTagSize))) << "job " << i;
    ASSERT_TRUE(packets[i].surroundings_untouched()) << "opening job " << i;
  }
}

class Engine : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(crypto_init());
    engine_ = make_any_engine(GetParam());
    ASSERT_TRUE(engine_);
  }
  std::unique_ptr<AeadEngine> engine_;
  SeededRng rng_;
};

INSTANTIATE_TEST_SUITE_P(All, Engine, testing::ValuesIn(engine_names()), [](const auto& param) {
  std::string name = param.param;
  std::ranges::replace(name, '-', '_');
  return name;
});

bool is_lanes(std::string_view name) { return name.starts_with("lanes"); }

TEST(Select, AllOfThemHereAndTheReferenceLast) {
  // These run on every x86-64 that Debian supports: an engine that is missing here would be an engine that is not
  // tested. The forms of lanes depend on the CPU.
  const auto names = available_engines();
  std::vector<std::string_view> others, forms;
  std::ranges::partition_copy(names, std::back_inserter(forms), std::back_inserter(others), is_lanes);
  EXPECT_EQ(others, (std::vector<std::string_view>{"ipsec-mb", "sodium"}));
  const auto has_form = [&](std::string_view name) { return std::ranges::find(forms, name) != forms.end(); };
  EXPECT_EQ(has_form("lanes-avx2"), __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(has_form("lanes-avx512"), __builtin_cpu_supports("avx512bw") != 0);
  EXPECT_EQ(has_form("lanes-avx512ifma"), __builtin_cpu_supports("avx512ifma") != 0);
  EXPECT_EQ(has_form("lanes"), forms.size() > 1);
  EXPECT_EQ(make_engine("no-such-engine"), nullptr);
  EXPECT_EQ(make_engine("ipsec"), nullptr);
}

TEST(Select, FastestUnlessOneBeforeItIsAlmostAsFast) {
  const auto fastest = [](std::vector<double> nanoseconds) {
    constexpr std::string_view kNames[] = {"a", "b", "c"};
    std::vector<EngineSpeed> speeds;
    for (size_t i = 0; i < nanoseconds.size(); ++i) speeds.push_back({kNames[i], nanoseconds[i]});
    return fastest_engine(speeds);
  };
  EXPECT_EQ(fastest({100}), "a");
  EXPECT_EQ(fastest({100, 90}), "b");
  EXPECT_EQ(fastest({100, 96}), "a");
  EXPECT_EQ(fastest({96, 100}), "a");
  EXPECT_EQ(fastest({300, 100, 97}), "b");
  EXPECT_EQ(fastest({300, 100, 90}), "c");
}

TEST(Select, MakesTheFastestOfAllMeasured) {
  const auto& speeds = engine_speeds();
  const auto names = available_engines();
  EXPECT_TRUE(std::ranges::equal(speeds, names, {}, &EngineSpeed::name));
  for (const EngineSpeed& speed : speeds) {
    EXPECT_GT(speed.nanoseconds, 1) << speed.name;
    EXPECT_LT(speed.nanoseconds, 1e6) << speed.name;
  }
  EXPECT_EQ(make_engine()->name(), fastest_engine(speeds));
  EXPECT_EQ(&engine_speeds(), &speeds);
}

// Does what another engine does, but for one bit.
class BrokenEngine final : public AeadEngine {
 public:
  enum class Fault { kWrongTag, kWrongText, kAcceptsAll, kLeavesForgedText };
  explicit BrokenEngine(Fault fault) : fault_(fault) {}

  std::string_view name() const noexcept override { return "broken"; }
  void seal(std::span<SealJob> jobs, Sums sums) noexcept override {
    engine_->seal(jobs, sums);
    for (SealJob& job : jobs) {
      if (fault_ == Fault::kWrongTag && job.text.size() > 255) job.tag[15] ^= std::byte{1};
      if (fault_ == Fault::kWrongText && job.text.size() > 255) job.text.back() ^= std::byte{1};
    }
  }
  void open(std::span<OpenJob> jobs, Sums sums) noexcept override {
    engine_->open(jobs, sums);
    for (OpenJob& job : jobs) {
      if (fault_ == Fault::kLeavesForgedText && !job.ok && !job.text.empty()) job.text.front() = std::byte{1};
      if (fault_ == Fault::kAcceptsAll) job.ok = true;
    }
  }

 private:
  std::unique_ptr<AeadEngine> engine_ = make_engine("sodium");
  Fault fault_;
};

TEST(SelfTest, FindsBrokenEngines) {
  using Fault = BrokenEngine::Fault;
  for (Fault fault : {Fault::kWrongTag, Fault::kWrongText, Fault::kAcceptsAll, Fault::kLeavesForgedText}) {
    BrokenEngine engine(fault);
    EXPECT_FALSE(self_test(engine)) << static_cast<int>(fault);
  }
  EXPECT_TRUE(self_test(*make_engine("sodium")));
}

TEST_P(Engine, PassesTheSelfTest) { EXPECT_TRUE(self_test(*engine_)); }

TEST_P(Engine, ForcedIsTheActiveOne) {
  EXPECT_EQ(engine_->name(), GetParam());
  for (const auto& other : available_engines()) {
    const auto instance = make_engine(other);
    const AeadEngine &a = *engine_, &b = *instance;
    EXPECT_EQ(typeid(a) == typeid(b), other == GetParam() || (is_lanes(other) && is_lanes(GetParam()))) << other;
  }
}

// RFC 8439, appendix A.1, vectors 2 and 3: the keystream's block 1, where the cipher of the AEAD starts. (The RFC's
// AEAD vectors have additional data and a nonce that the protocol never uses; crypto/primitives_test.cc runs those.)
// The tag is put together from the RFC's parts.
TEST_P(Engine, Rfc8439) {
  const std::pair<const char*, const char*> vectors[] = {
      {"0000000000000000000000000000000000000000000000000000000000000000",
       "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
       "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"},
      {"0000000000000000000000000000000000000000000000000000000000000001",
       "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a"
       "8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0"},
  };
  for (const auto& [key_hex, keystream] : vectors) {
    const auto key_bytes = from_hex(key_hex);
    const Secret<32> key{std::span<const std::byte, 32>(key_bytes)};
    std::array<std::byte, 64> text{};
    std::array<std::byte, kTagSize> tag{};
    SealJob job{&key, 0, text, tag.data()};
    engine_->seal({&job, 1});
    EXPECT_TRUE(equal(text, from_hex(keystream)));

    std::array<unsigned char, 32> one_time_key{};
    const unsigned char nonce[12] = {};
    crypto_stream_chacha20_ietf(one_time_key.data(), one_time_key.size(), nonce, key.data());  // block 0
    Buffer authenticated(text.begin(), text.end());                                            // no data, no padding
    authenticated.resize(64 + 16);
    authenticated[64 + 8] = std::byte{64};  // lengths: 0 and 64
    std::array<std::byte, 16> expected;
    crypto_onetimeauth_poly1305(reinterpret_cast<unsigned char*>(expected.data()),
                                reinterpret_cast<const unsigned char*>(authenticated.data()), authenticated.size(),
                                one_time_key.data());
    EXPECT_EQ(tag, expected);
  }
}

// None of Wycheproof's vectors is without additional data, hence none fits the engines as it is. Their keys, nonces and
// texts do, with libsodium's tag; ten have the protocol's nonce form and so keep the Poly1305 keys they were made for.
TEST_P(Engine, WycheproofKeysNoncesAndTexts) {
  const auto file = test::load_vectors("wycheproof/chacha20_poly1305_test.json");
  size_t tests = 0, same_nonce = 0;
  for (const auto& group : file["testGroups"])
    for (const auto& t : group["tests"]) {
      const auto iv = from_hex(t["iv"].get<std::string>());
      if (iv.size() != 12) continue;
      SCOPED_TRACE(t["tcId"].get<int>());
      const auto key_bytes = from_hex(t["key"].get<std::string>());
      const Secret<32> key{std::span<const std::byte, 32>(key_bytes)};
      uint64_t nonce;
      std::memcpy(&nonce, iv.data() + 4, sizeof nonce);  // x86: little-endian
      same_nonce += all_zero(ConstBytes(iv).first(4));
      const auto plain = from_hex(t["msg"].get<std::string>());
      const Buffer sealed = reference_seal(key, nonce, plain);

      Buffer buffer = plain;
      buffer.resize(sealed.size());
      const Bytes text = Bytes(buffer).first(plain.size());
      std::byte* const tag = buffer.data() + plain.size();
      SealJob seal{&key, nonce, text, tag};
      engine_->seal({&seal, 1});
      EXPECT_EQ(buffer, sealed);
      OpenJob open{&key, nonce, text, tag};
      engine_->open({&open, 1});
      EXPECT_TRUE(open.ok);
      EXPECT_TRUE(equal(text, plain));

      buffer =
          from_hex(t["ct"].get<std::string>());  // with the vector's tag: made over other data, so it must be refused
      std::ranges::copy(from_hex(t["tag"].get<std::string>()), std::back_inserter(buffer));
      OpenJob forged{&key, nonce, Bytes(buffer).first(plain.size()), buffer.data() + plain.size()};
      engine_->open({&forged, 1});
      EXPECT_FALSE(forged.ok);
      EXPECT_TRUE(all_zero(forged.text));
      ++tests;
    }
  EXPECT_EQ(tests, 316u);
  EXPECT_EQ(same_nonce, 10u);
}

#ifndef __SANITIZE_ADDRESS__  // it lays out frames of its own
// A thread's stack, zero before: what a function leaves behind on it can be looked at.
class Stack {
 public:
  Stack() : memory_(mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
  ~Stack() { munmap(memory_, kSize); }
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  void run(const std::function<void()>& work) {
    pthread_attr_t attributes;
    ASSERT_EQ(pthread_attr_init(&attributes), 0);
    ASSERT_EQ(pthread_attr_setstack(&attributes, memory_, kSize), 0);
    const auto start = [](void* argument) -> void* {
      (*static_cast<const std::function<void()>*>(argument))();
      return nullptr;
    };
    pthread_t thread;
    ASSERT_EQ(pthread_create(&thread, &attributes, start, const_cast<std::function<void()>*>(&work)), 0);
    ASSERT_EQ(pthread_join(thread, nullptr), 0);
    ASSERT_EQ(pthread_attr_destroy(&attributes), 0);
  }
  // Words that follow each other.
  bool holds(std::array<uint32_t, 2> words) const {
    return memmem(memory_, kSize, words.data(), sizeof words) != nullptr;
  }

 private:
  static constexpr size_t kSize = size_t{256} << 10;
  void* memory_;
};

// Of one key and one nonce, so that every lane holds the same: a word of either lies beside itself in a vector, or
// beside the next one in a block.
class LanesOnStack : public Engine {};

std::vector<std::string> lanes_names() {
  std::vector<std::string> names;
  for (const std::string_view name : available_engines())
    if (is_lanes(name)) names.emplace_back(name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, LanesOnStack, testing::ValuesIn(lanes_names()), [](const auto& param) {
  std::string name = param.param;
  std::ranges::replace(name, '-', '_');
  return name;
});
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LanesOnStack);  // a CPU without any form of lanes

TEST_P(LanesOnStack, LeaveNothing) {
  const Secret<32> key = random_key(rng_);
  std::array<uint32_t, 8> key_words;
  std::memcpy(key_words.data(), key.data(), sizeof key_words);
  std::array<uint32_t, 32> keystream{};  // blocks 0 and 1
  const unsigned char nonce[12] = {0, 0, 0, 0, 7};
  crypto_stream_chacha20_ietf(reinterpret_cast<unsigned char*>(keystream.data()), sizeof keystream, nonce, key.data());

  for (const size_t size : {64, 300, 1420}) {
    std::vector<Buffer> packets(AeadEngine::kMaxBurst, Buffer(size + kTagSize));
    for (size_t i = 0; i + 1 < packets.size(); i += 3) packets[i].resize(size / 2 + kTagSize);  // uneven as well
    std::vector<SealJob> seal;
    std::vector<OpenJob> open;
    for (Buffer& packet : packets) {
      const Bytes text = Bytes(packet).first(packet.size() - kTagSize);
      seal.push_back({&key, 7, text, packet.data() + text.size()});
      open.push_back({&key, 7, text, packet.data() + text.size()});
    }
    Stack stack;
    stack.run([&] {
      engine_->seal(seal);
      engine_->open(open);
    });
    EXPECT_TRUE(open.front().ok && open.back().ok);
    for (const uint32_t word : key_words) EXPECT_FALSE(stack.holds({word, word})) << "key, " << size;
    for (size_t i = 0; i < keystream.size(); ++i) {
      EXPECT_FALSE(stack.holds({keystream[i], keystream[i]})) << "keystream " << i << ", " << size;
      const uint32_t next = keystream[(i + 1) % keystream.size()];
      EXPECT_FALSE(stack.holds({keystream[i], next})) << "block " << i << ", " << size;
    }
  }
}
#endif

// Texts made so that Poly1305's accumulator and the tag take extreme values (vectors/poly1305_edges.json says which).
TEST_P(Engine, Poly1305Edges) {
  const auto file = test::load_vectors("poly1305_edges.json");
  ASSERT_GT(file["vectors"].size(), 100u);
  for (const auto& v : file["vectors"]) {
    SCOPED_TRACE(v["id"].get<std::string>());
    const auto key_bytes = from_hex(v["key"].get<std::string>());
    const Secret<32> key{std::span<const std::byte, 32>(key_bytes)};
    const uint64_t nonce = std::stoull(v["counter"].get<std::string>());
    Buffer text = from_hex(v["ciphertext"].get<std::string>());
    const Buffer ciphertext = text, tag = from_hex(v["tag"].get<std::string>());
    OpenJob open{&key, nonce, text, tag.data()};
    engine_->open({&open, 1});
    ASSERT_TRUE(open.ok);
    Buffer tag_again(kTagSize);
    SealJob seal{&key, nonce, text, tag_again.data()};
    engine_->seal({&seal, 1});
    EXPECT_EQ(text, ciphertext);
    EXPECT_EQ(tag_again, tag);
  }
}

TEST_P(Engine, DataJson) {
  const auto file = test::load_vectors("data.json");
  ASSERT_FALSE(file["vectors"].empty());
  const auto key_bytes = from_hex(file["key"].get<std::string>());
  const Secret<32> key{std::span<const std::byte, 32>(key_bytes)};
  for (const auto& v : file["vectors"]) {
    SCOPED_TRACE(v["id"].get<std::string>());
    const Buffer message = from_hex(v["message"].get<std::string>());
    const ConstBytes sealed = ConstBytes(message).subspan(sizeof(DataHeader));
    Buffer padded = from_hex(v["plaintext"].get<std::string>());
    padded.resize(v["padded_length"].get<size_t>());
    ASSERT_EQ(sealed.size(), padded.size() + kTagSize);
    const uint64_t counter = std::stoull(v["counter"].get<std::string>());
    EXPECT_TRUE(equal(aead_nonce(counter), from_hex(v["nonce"].get<std::string>())));

    Buffer buffer(sealed.begin(), sealed.end());
    const Bytes text = Bytes(buffer).first(padded.size());
    OpenJob open{&key, counter, text, buffer.data() + padded.size()};
    engine_->open({&open, 1});
    EXPECT_TRUE(open.ok);
    EXPECT_TRUE(equal(text, padded));
    SealJob seal{&key, counter, text, buffer.data() + padded.size()};
    engine_->seal({&seal, 1});
    EXPECT_TRUE(equal(buffer, sealed));
  }
}

TEST_P(Engine, EveryLengthAtEveryAlignment) {  // X-05; one burst has one length at 16 alignments
  for (size_t size = 0; size <= kLongest; ++size) {
    SCOPED_TRACE(size);
    std::vector<Packet> packets;
    for (size_t misalignment = 0; misalignment < 16; ++misalignment) packets.emplace_back(rng_, size, misalignment);
    expect_burst_right(*engine_, packets);
    if (HasFatalFailure()) return;
  }
}

TEST_P(Engine, JumboTexts) {
  std::vector<Packet> packets;
  for (const size_t size : std::initializer_list<size_t>{4096, 8192, 9000, 9216, 16384, 65535, 65536})
    packets.emplace_back(rng_, size, 1);
  expect_burst_right(*engine_, packets);
}

TEST_P(Engine, TagFarFromItsText) {  // text and tag in different buffers, at every alignment of the tag
  for (size_t misalignment = 0; misalignment < 16; ++misalignment) {
    Packet packet(rng_, 100 + misalignment, 3);
    Buffer tag(misalignment + kTagSize);
    SealJob seal = packet.seal_job();
    seal.tag = tag.data() + misalignment;
    engine_->seal({&seal, 1});
    EXPECT_TRUE(equal(packet.text(), ConstBytes(packet.sealed).first(packet.plain.size())));
    EXPECT_TRUE(equal({seal.tag, kTagSize}, ConstBytes(packet.sealed).last(kTagSize)));
    OpenJob open{&packet.key, packet.nonce, packet.text(), seal.tag};
    engine_->open({&open, 1});
    EXPECT_TRUE(open.ok);
    EXPECT_TRUE(equal(packet.text(), packet.plain));
  }
}

enum class Damage { kTag, kText, kNonce, kKey, kCount };

// Makes the job's message a forgery and returns how.
Damage damage(OpenJob& job, const Secret<32>& other_key, SeededRng& rng) {
  auto how = static_cast<Damage>(rng.below(static_cast<uint32_t>(Damage::kCount)));
  if (how == Damage::kText && job.text.empty()) how = Damage::kTag;
  const auto bit = static_cast<std::byte>(1u << rng.below(8));
  switch (how) {
    case Damage::kTag:
      const_cast<std::byte*>(job.tag)[rng.below(kTagSize)] ^= bit;
      break;
    case Damage::kText:
      job.text[rng.below(static_cast<uint32_t>(job.text.size()))] ^= bit;
      break;
    case Damage::kNonce:
      job.nonce ^= uint64_t{1} << rng.below(64);
      break;
    default:
      job.key = &other_key;
  }
  return how;
}

TEST_P(Engine, BurstsOfEverySizeWithOneForgery) {  // keys, lengths and alignments mixed
  const Secret<32> other_key = random_key(rng_);
  for (size_t burst = 1; burst <= AeadEngine::kMaxBurst; ++burst) {
    SCOPED_TRACE(burst);
    std::vector<Packet> packets;
    for (size_t i = 0; i < burst; ++i)
      packets.emplace_back(rng_, rng_.below(4) == 0 ? rng_.below(40) : rng_.below(1600), rng_.below(64));
    expect_burst_right(*engine_, packets);
    if (HasFatalFailure()) return;

    std::vector<OpenJob> jobs;
    for (Packet& p : packets) jobs.push_back(p.open_job());
    const size_t bad = rng_.below(static_cast<uint32_t>(burst));
    const Damage how = damage(jobs[bad], other_key, rng_);
    jobs[bad].ok = true;  // must be written, not left
    {
      const std::vector<const void*> lines(rng_.below(700), packets.data());
      engine_->read_after_next(lines);
      engine_->open(jobs);
    }  // the list is gone, and no later call looks at it
    for (size_t i = 0; i < burst; ++i) {
      ASSERT_EQ(jobs[i].ok, i != bad) << "job " << i << ", damage " << static_cast<int>(how);
      ASSERT_TRUE(i == bad ? all_zero(jobs[i].text) : equal(jobs[i].text, packets[i].plain)) << "job " << i;
      ASSERT_TRUE(packets[i].surroundings_untouched()) << "job " << i;
    }
  }
}

TEST_P(Engine, EveryBitOfTextAndTagCounts) {
  for (const size_t size : std::initializer_list<size_t>{0, 1, 16, 33, 64, 100}) {
    Packet packet(rng_, size, 5);
    for (size_t bit = 0; bit < 8 * packet.sealed.size(); ++bit) {
      OpenJob job = packet.open_job();
      *(packet.text().data() + bit / 8) ^= static_cast<std::byte>(1u << (bit % 8));  // runs on into the tag
      engine_->open({&job, 1});
      ASSERT_FALSE(job.ok) << size << " bytes, bit " << bit;
      ASSERT_TRUE(all_zero(job.text)) << size << " bytes, bit " << bit;
    }
    OpenJob job = packet.open_job();
    engine_->open({&job, 1});
    EXPECT_TRUE(job.ok);  // nothing of the forgeries stays in the engine
  }
}

TEST_P(Engine, AllForged) {
  std::vector<Packet> packets;
  for (size_t i = 0; i < 70; ++i) packets.emplace_back(rng_, 20 * i, i % 16);
  std::vector<OpenJob> jobs;
  for (Packet& p : packets) {
    jobs.push_back(p.open_job());
    p.tag()[15] ^= std::byte{0x80};
  }
  engine_->open(jobs);
  for (const OpenJob& job : jobs) {
    EXPECT_FALSE(job.ok);
    EXPECT_TRUE(all_zero(job.text));
  }
}

TEST_P(Engine, EmptyBurstAndEmptyTextWithoutAddress) {
  engine_->seal({});
  engine_->open({});
  const Secret<32> key = random_key(rng_);
  std::array<std::byte, kTagSize> tag{};
  SealJob seal{&key, 9, {}, tag.data()};
  engine_->seal({&seal, 1});
  EXPECT_TRUE(equal(tag, reference_seal(key, 9, {})));
  OpenJob open{&key, 9, {}, tag.data()};
  engine_->open({&open, 1});
  EXPECT_TRUE(open.ok);
}

// Texts that begin and end at pages that cannot be accessed, keys and tags likewise; tags of received messages and keys
// cannot be written either. Any access outside is a fault, and a fault is a failed test.
TEST_P(Engine, StaysWithinTextAndTag) {
  GuardedPages text_pages(2), tag_pages(1), key_pages(1);
  for (size_t size = 0; size <= 1520; size = size == 600 ? 1400 : size + 1)
    for (const bool at_end : {false, true}) {
      SCOPED_TRACE(size);
      const Secret<32> plain_key = random_key(rng_);
      Secret<32>* key = new (at_end ? key_pages.last(sizeof(Secret<32>)).data() : key_pages.first(1).data())
          Secret<32>(plain_key.clone());
      const Buffer plain = random_bytes(rng_, size);
      const Buffer sealed = reference_seal(*key, size, plain);
      const ConstBytes sealed_tag = ConstBytes(sealed).last(kTagSize);

      // text and tag together, as packets have them
      const Bytes whole = at_end ? text_pages.last(sealed.size()) : text_pages.first(sealed.size());
      std::ranges::copy(plain, whole.begin());
      SealJob seal{key, size, whole.first(size), whole.data() + size};
      key_pages.protect_from_writing(true);
      engine_->seal({&seal, 1});
      ASSERT_TRUE(equal(whole, sealed));
      OpenJob open{key, size, whole.first(size), whole.data() + size};
      engine_->open({&open, 1});
      ASSERT_TRUE(open.ok);
      ASSERT_TRUE(equal(open.text, plain));

      // apart: the text itself ends where memory ends
      const Bytes text = at_end ? text_pages.last(size) : text_pages.first(size);
      const Bytes tag = at_end ? tag_pages.last(kTagSize) : tag_pages.first(kTagSize);
      std::ranges::copy(plain, text.begin());
      seal = {key, size, text, tag.data()};
      engine_->seal({&seal, 1});
      ASSERT_TRUE(equal(text, ConstBytes(sealed).first(size)));
      ASSERT_TRUE(equal(tag, sealed_tag));
      tag_pages.protect_from_writing(true);
      open = {key, size, text, tag.data()};
      engine_->open({&open, 1});
      ASSERT_TRUE(open.ok);
      ASSERT_TRUE(equal(text, plain));
      tag_pages.protect_from_writing(false);
      key_pages.protect_from_writing(false);
      key->~Secret();
    }
}

TEST_P(Engine, OpensWhatOthersSeal) {
  for (const auto& name : available_engines()) {
    const auto other = make_engine(name);
    std::vector<Packet> packets;
    for (size_t i = 0; i < AeadEngine::kMaxBurst; ++i) packets.emplace_back(rng_, rng_.below(kLongest), i % 16);
    std::vector<SealJob> seal;
    std::vector<OpenJob> open;
    for (Packet& p : packets) seal.push_back(p.seal_job());
    other->seal(seal);
    for (const SealJob& job : seal) open.push_back({job.key, job.nonce, job.text, job.tag});
    engine_->open(open);
    for (size_t i = 0; i < packets.size(); ++i) {
      ASSERT_TRUE(open[i].ok) << name << " job " << i;
      ASSERT_TRUE(equal(open[i].text, packets[i].plain)) << name << " job " << i;
    }
  }
}

TEST_P(Engine, InstancesAreIndependent) {  // one per worker, at the same time
  std::array<std::vector<Packet>, 2> packets;
  std::array<size_t, 2> wrong{};
  for (auto& set : packets)
    for (size_t i = 0; i < 64; ++i) set.emplace_back(rng_, rng_.below(1500), i % 16);
  const auto work = [&](size_t worker) {
    const auto engine = make_any_engine(GetParam());
    for (int round = 0; round < 50; ++round) {
      std::vector<SealJob> seal;
      for (Packet& p : packets[worker]) seal.push_back(p.seal_job());
      engine->seal(seal);
      for (const Packet& p : packets[worker]) wrong[worker] += !equal(p.text_and_tag(), p.sealed);
    }
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  EXPECT_EQ(wrong[0], 0u);
  EXPECT_EQ(wrong[1], 0u);
}

}  // namespace
}  // namespace sluice
