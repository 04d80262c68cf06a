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
  Samples seal, open;
  bool sound = true;  // false: fails the self-test; shown to know what it would do, never used
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
  void run(Contender& contender, bool keep) {
    const auto packets = static_cast<double>(seal_.size());
    const double seal = time_ns([&] { contender.engine->seal(seal_); }) / packets;
    const double open = time_ns([&] { contender.engine->open(open_); }) / packets;
    if (contender.sound && !std::ranges::all_of(open_, &OpenJob::ok))
      throw std::runtime_error("engine " + contender.name + " does not open what it has sealed");
    if (!keep) return;
    contender.seal.add(seal);
    contender.open.add(open);
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
  for (const std::string_view name : available_engines())
    contenders.push_back({std::string(name), make_engine(name), {}, {}});
  // The library's AVX-512 form where its tags are wrong now and then (crypto/select.cc).
  if (auto engine = make_ipsec_mb_engine(); engine != nullptr && !self_test(*engine))
    contenders.push_back({"ipsec-mb-avx512 (rejected)", std::move(engine), {}, {}, false});
  if (auto engine = make_openssl_engine()) contenders.push_back({"openssl", std::move(engine), {}, {}});
  return contenders;
}

void take_turns(std::vector<Contender>& contenders, const Traffic& traffic, unsigned turns) {
  Packets packets(traffic);
  for (unsigned turn = 0; turn < turns; ++turn) {
    for (Contender& contender : contenders) {
      const auto start = SteadyClock::now();
      unsigned kept = 0;  // a few at least, however often others have the CPU
      for (auto now = start; kept < kFewest || now - start < kTurn; now = SteadyClock::now()) {
        const bool keep = now - start > kTurn / 2;
        packets.run(contender, keep);
        kept += keep;
      }
    }
  }
}

const Contender* find(const std::vector<Contender>& contenders, std::string_view name) {
  const auto it = std::ranges::find(contenders, name, &Contender::name);
  return it == contenders.end() ? nullptr : &*it;
}

struct Wanted {
  const char* traffic;
  double ratio;
};
constexpr std::array<Wanted, 5> kWanted = {{{"64", 6.0}, {"256", 3.0}, {"512", 1.9}, {"1420", 1.5}, {"imix", 2.5}}};

void add_rows(Table& table, const std::string& traffic, const char* direction, Samples Contender::*samples,
              const std::vector<Contender>& contenders) {
  const Contender* yardstick = find(contenders, kIpsecMbEngine);
  for (const Contender& contender : contenders) {
    const Samples& own = contender.*samples;
    const auto ratio = [&](double theirs, double ours) -> Cell {
      if (yardstick == nullptr || ours == 0) return "-";
      return theirs / ours;
    };
    const double best = yardstick != nullptr ? (yardstick->*samples).min() : 0;
    const double usual = yardstick != nullptr ? (yardstick->*samples).median() : 0;
    table.rows.push_back({traffic, direction, contender.name, own.min(), own.median(), 1e9 / own.min(),
                          ratio(best, own.min()), ratio(usual, own.median())});
  }
}

void add_goals(Outcome& outcome, const std::string& traffic, const std::vector<Contender>& contenders) {
  const auto wanted = std::ranges::find(kWanted, traffic, &Wanted::traffic);
  const Contender *lanes = find(contenders, kLanesEngine), *yardstick = find(contenders, kIpsecMbEngine);
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
  Outcome outcome;
  outcome.about = {{"engine", std::string(fastest_engine(engine_speeds()))}};
  Table table{"burst cipher, 64 packets of different keys, ns a packet",
              {"size", "direction", "engine", "min_ns", "median_ns", "packets_per_s", "ipsec-mb_ratio", "median_ratio"},
              {}};
  std::vector<Contender> contenders = make_contenders();
  for (const Traffic& traffic : all_traffic()) {
    for (Contender& contender : contenders) contender.seal = contender.open = {};
    take_turns(contenders, traffic, options.quick ? 1 : 30);
    add_rows(table, traffic.name, "seal", &Contender::seal, contenders);
    add_rows(table, traffic.name, "open", &Contender::open, contenders);
    add_goals(outcome, traffic.name, contenders);
  }
  outcome.tables.push_back(std::move(table));
  return outcome;
}

}  // namespace sluice::bench
