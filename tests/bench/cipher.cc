// `cipher`: every AEAD engine on bursts of packets that all have different keys, one engine after the other in turns.
// The yardstick is ipsec-mb.
#include <algorithm>
#include <array>
#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include "dataplane/crypto/aead_ipsecmb.h"
#include "dataplane/crypto/aead_lanes.h"
#include "dataplane/crypto/select.h"
#include "dataplane/crypto/self_test.h"
#include "dataplane/wire/messages.h"
#include "tests/bench/bench.h"
#include "tests/bench/openssl_engine.h"
#include "tests/bench/samples.h"
#include "tests/bench/traffic.h"

namespace sluice::bench {
namespace {

using namespace std::chrono_literals;

// A CPU that lowers its clock for wide vectors raises it again after about 0.7 ms without them: what is measured in the
// first half of a turn would be the clock of the engine before.
constexpr auto kTurn = 2ms;
constexpr unsigned kFewest = 5;  // bursts

struct Contender {
  std::string name;
  std::unique_ptr<AeadEngine> engine;
  bool sound = true;  // false: fails the self-test; shown to know what it would do, never used
};

struct Times {
  Samples seal, open;  // nanoseconds a packet
};

// A burst of packets as far apart as packet buffers are, and as badly aligned as behind an Ethernet header.
class Packets {
 public:
  explicit Packets(const Traffic& traffic) : buffers_(traffic.sizes.size()), keys_(traffic.sizes.size()) {
    for (size_t i = 0; i < traffic.sizes.size(); ++i) {
      keys_[i].bytes()[0] = static_cast<std::byte>(i + 1);
      const Bytes text = Bytes(buffers_[i]).subspan(kOffset, traffic.sizes[i]);
      seal_.push_back({&keys_[i], i, text, text.data() + text.size()});
      open_.push_back({&keys_[i], i, text, text.data() + text.size()});
    }
  }
  void run(const Contender& contender, Times& times, bool keep) {
    const auto packets = static_cast<double>(seal_.size());
    const double seal = time_ns([&] { contender.engine->seal(seal_); }) / packets;
    const double open = time_ns([&] { contender.engine->open(open_); }) / packets;
    if (contender.sound && !std::ranges::all_of(open_, &OpenJob::ok))
      throw std::runtime_error("engine " + contender.name + " does not open what it has sealed");
    if (!keep) return;
    times.seal.add(seal);
    times.open.add(open);
  }

 private:
  static constexpr size_t kOffset = 142;
  struct Buffer : std::array<std::byte, 2304> {};
  std::vector<Buffer> buffers_;
  std::vector<Secret<32>> keys_;
  std::vector<SealJob> seal_;
  std::vector<OpenJob> open_;
};

std::vector<Contender> make_contenders() {
  std::vector<Contender> contenders;
  for (const std::string_view name : available_engines()) contenders.push_back({std::string(name), make_engine(name)});
  // The library's AVX-512 form where its tags are wrong now and then (crypto/select.cc).
  if (auto engine = make_ipsec_mb_engine(); engine != nullptr && !self_test(*engine))
    contenders.push_back({"ipsec-mb-avx512 (rejected)", std::move(engine), false});
  if (auto engine = make_openssl_engine()) contenders.push_back({"openssl", std::move(engine)});
  return contenders;
}

// The engines on bursts of one kind.
class Comparison {
 public:
  Comparison(const std::vector<Contender>& contenders, const Traffic& traffic)
      : contenders_(contenders), traffic_(traffic.name), packets_(traffic), times_(contenders.size()) {}

  void take_turns() {
    for (size_t i = 0; i < contenders_.size(); ++i) {
      const auto start = SteadyClock::now();
      unsigned kept = 0;  // a few at least, however often others have the CPU
      for (auto now = start; kept < kFewest || now - start < kTurn; now = SteadyClock::now()) {
        const bool keep = now - start > kTurn / 2;
        packets_.run(contenders_[i], times_[i], keep);
        kept += keep;
      }
    }
  }
  const std::string& traffic() const { return traffic_; }
  const std::vector<Contender>& contenders() const { return contenders_; }
  const Times* of(std::string_view engine) const {
    for (size_t i = 0; i < contenders_.size(); ++i)
      if (contenders_[i].name == engine) return &times_[i];
    return nullptr;
  }

 private:
  const std::vector<Contender>& contenders_;
  std::string traffic_;
  Packets packets_;
  std::vector<Times> times_;
};

struct Wanted {
  const char* traffic;
  double ratio;
};
constexpr std::array<Wanted, 5> kWanted = {{{"64", 6.0}, {"256", 3.0}, {"512", 1.9}, {"1420", 1.5}, {"imix", 2.5}}};

void add_rows(Table& table, const Comparison& comparison, const char* direction, Samples Times::*samples) {
  const Times* yardstick = comparison.of(kIpsecMbEngine);
  const auto ratio = [&](double theirs, double ours) { return yardstick != nullptr ? Cell(theirs / ours) : Cell("-"); };
  for (const Contender& contender : comparison.contenders()) {
    const Samples& own = comparison.of(contender.name)->*samples;
    const Samples& theirs = yardstick != nullptr ? yardstick->*samples : own;
    table.rows.push_back({comparison.traffic(), direction, contender.name, own.min(), own.median(), 1e9 / own.min(),
                          ratio(theirs.min(), own.min()), ratio(theirs.median(), own.median())});
  }
}

void add_goals(Outcome& outcome, const Comparison& comparison) {
  const std::string& traffic = comparison.traffic();
  const auto wanted = std::ranges::find(kWanted, traffic, &Wanted::traffic);
  const Times *lanes = comparison.of(kLanesEngine), *yardstick = comparison.of(kIpsecMbEngine);
  if (wanted == kWanted.end() || lanes == nullptr || yardstick == nullptr) return;
  const std::string name = "cipher, ipsec-mb / lanes, " + traffic + (traffic == "imix" ? "" : " B");
  const auto add = [&](const char* direction, double ratio) {
    outcome.goals.push_back({name + ", " + direction, ratio, Bound::kAtLeast, wanted->ratio});
  };
  add("seal", yardstick->seal.min() / lanes->seal.min());
  add("open", yardstick->open.min() / lanes->open.min());
}

}  // namespace

Outcome measure_cipher(const Options& options) {
  const std::vector<Contender> contenders = make_contenders();
  std::vector<std::unique_ptr<Comparison>> comparisons;
  for (const Traffic& traffic : all_traffic()) comparisons.push_back(std::make_unique<Comparison>(contenders, traffic));
  // All sizes in every round: a machine has slow and fast seconds.
  for (int round = 0; round < (options.quick ? 1 : 30); ++round)
    for (const auto& comparison : comparisons) comparison->take_turns();

  Outcome outcome;
  outcome.about = {{"engine", std::string(fastest_engine(engine_speeds()))}};
  Table table{"burst cipher, 64 packets of different keys, ns a packet",
              {"size", "direction", "engine", "min_ns", "median_ns", "packets_per_s", "ipsec-mb_ratio", "median_ratio"},
              {}};
  for (const auto& comparison : comparisons) {
    add_rows(table, *comparison, "seal", &Times::seal);
    add_rows(table, *comparison, "open", &Times::open);
    add_goals(outcome, *comparison);
  }
  outcome.tables.push_back(std::move(table));
  return outcome;
}

}  // namespace sluice::bench
