// All engines against the reference ("sodium", the last one) on random bursts: lengths, keys, nonces, alignments and
// forgeries mixed. 10^5 packets; another number by the environment:
//   SLUICE_DIFFERENTIAL_PACKETS=10000000 build/tests/unit/crypto/crypto_differential_test
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "dataplane/crypto/aead_lanes.h"
#include "dataplane/crypto/primitives.h"
#include "dataplane/crypto/select.h"
#include "tests/support/seeded_rng.h"
#include "tests/unit/crypto/portable_lanes.h"

namespace sluice {
namespace {

using test::SeededRng;

constexpr size_t kLongest = 2048, kMisalignments = 64;
constexpr size_t kRoom = kMisalignments + kLongest + kTagSize;

uint64_t packets_wanted() {
  const char* const text = std::getenv("SLUICE_DIFFERENTIAL_PACKETS");
  return text == nullptr ? 100'000 : std::stoull(text);
}

// The engines at hand, the reference last.
std::vector<std::unique_ptr<AeadEngine>> make_all() {
  std::vector<std::unique_ptr<AeadEngine>> engines;
  engines.push_back(make_lanes_engine("lanes-portable44", test::kPortableRadix44));
  for (std::string_view name : available_engines()) engines.push_back(make_engine(name));
  return engines;
}

struct Message {
  size_t key, misalignment, size;
  uint64_t nonce;
  uint32_t front;   // sum of what stands in front of it
  int damaged_bit;  // of the sealed message; negative: genuine
  std::array<std::byte, kLongest> plain;
  std::array<std::byte, kRoom> expected, actual;

  Bytes sealed(std::array<std::byte, kRoom>& room) const { return Bytes(room).subspan(misalignment, size + kTagSize); }
};

// One burst, made again and again.
class Burst {
 public:
  explicit Burst(SeededRng& rng) : rng_(rng), messages_(AeadEngine::kMaxBurst) {}

  size_t make() {
    for (Secret<32>& key : keys_) rng_.fill(key.bytes());
    const uint32_t kind = rng_.below(4);
    const uint32_t common = rng_.below(kLongest + 1);
    sums_ = rng_.below(2) == 0 ? Sums::kWanted : Sums::kUnwanted;
    // Mostly as many as a worker has at a time.
    count_ = 1 + rng_.below(rng_.below(4) == 0 ? AeadEngine::kMaxBurst : 64);
    for (Message& m : used()) {
      m.key = rng_.below(kKeys);
      m.misalignment = rng_.below(kMisalignments);
      m.size = kind == 0 ? common : kind == 1 ? internet_mix() : rng_.below(kind == 2 ? 200 : kLongest + 1);
      m.nonce = rng_.next();
      m.front = rng_.next_u32();
      m.damaged_bit =
          rng_.below(8) == 0 ? static_cast<int>(rng_.below(static_cast<uint32_t>(8 * (m.size + kTagSize)))) : -1;
      rng_.fill(Bytes(m.plain).first(m.size));
    }
    return count_;
  }

  // Seals the burst in `room` and keeps what that gives in sealed_messages, then damages some and opens all. False: a
  // verdict or a sum is wrong.
  bool process(AeadEngine& engine, std::array<std::byte, kRoom> Message::*room,
               std::vector<std::byte>& sealed_messages) {
    seal_.clear();
    open_.clear();
    for (Message& m : used()) {
      const Bytes sealed = m.sealed(m.*room);
      std::copy_n(m.plain.begin(), m.size, sealed.begin());
      seal_.push_back({&keys_[m.key], m.nonce, sealed.first(m.size), sealed.data() + m.size, m.front});
      open_.push_back({&keys_[m.key], m.nonce, sealed.first(m.size), sealed.data() + m.size, false, m.front});
    }
    engine.seal(seal_, sums_);
    bool sums_hold = true;
    sealed_messages.clear();
    for (size_t i = 0; i < count_; ++i) {
      Message& m = messages_[i];
      const Bytes sealed = m.sealed(m.*room);
      sums_hold &= is_sum(seal_[i].sum, checksum_add(sealed, m.front));
      sealed_messages.insert(sealed_messages.end(), sealed.begin(), sealed.end());
      if (m.damaged_bit >= 0)
        sealed[static_cast<size_t>(m.damaged_bit / 8)] ^= static_cast<std::byte>(1 << (m.damaged_bit % 8));
      arrived_sums_[i] = checksum_add(sealed, m.front);
    }
    engine.open(open_, sums_);
    for (size_t i = 0; i < count_; ++i) {
      if (open_[i].ok != (messages_[i].damaged_bit < 0)) return false;
      sums_hold &= is_sum(open_[i].sum, arrived_sums_[i]);
    }
    return sums_hold;
  }

  std::span<Message> used() { return std::span(messages_).first(count_); }

 private:
  static constexpr size_t kKeys = 16;

  bool is_sum(uint32_t sum, uint32_t right) const {
    return sums_ == Sums::kUnwanted || checksum_fold(sum) == checksum_fold(right);
  }

  uint32_t internet_mix() {
    const uint32_t dice = rng_.below(12);
    return dice < 7 ? 64 : dice < 11 ? 594 : 1420;
  }

  SeededRng& rng_;
  std::vector<Message> messages_;
  std::array<Secret<32>, kKeys> keys_;
  std::vector<SealJob> seal_;
  std::vector<OpenJob> open_;
  std::array<uint32_t, AeadEngine::kMaxBurst> arrived_sums_;
  Sums sums_ = Sums::kUnwanted;
  size_t count_ = 0;
};

TEST(AeadDifferential, RandomBursts) {
  ASSERT_TRUE(crypto_init());
  const auto engines = make_all();
  ASSERT_GT(engines.size(), 2u);
  SeededRng rng(8439);
  Burst burst(rng);
  std::vector<std::byte> expected, actual;
  for (uint64_t done = 0, wanted = packets_wanted(); done < wanted;) {
    done += burst.make();
    ASSERT_TRUE(burst.process(*engines.back(), &Message::expected, expected)) << "within " << done << " packets";
    for (const auto& engine : engines) {
      ASSERT_TRUE(burst.process(*engine, &Message::actual, actual))
          << engine->name() << " within " << done << " packets";
      ASSERT_TRUE(actual == expected) << engine->name() << " seals differently within " << done << " packets";
      for (Message& m : burst.used())
        ASSERT_TRUE(std::ranges::equal(m.sealed(m.actual), m.sealed(m.expected)))
            << engine->name() << " opens differently within " << done << " packets, " << m.size << " bytes";
    }
  }
}

}  // namespace
}  // namespace sluice
