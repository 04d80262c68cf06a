#include "dataplane/crypto/measure.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>

#include "dataplane/wire/messages.h"

namespace sluice {
namespace {

using Clock = std::chrono::steady_clock;
using Nanoseconds = std::chrono::duration<double, std::nano>;

constexpr size_t kBurst = 36;
constexpr int kTurns = 3;
// Long enough that a CPU which lowers its clock for wide vectors, and raises it again after 0.7 ms without them, runs
// every engine at that engine's clock.
constexpr std::chrono::microseconds kTurn{700};

// A burst of packets, all of different keys.
class Mix {
 public:
  Mix() : buffers_(kBurst) {
    constexpr std::array<size_t, 12> kSizes = {64, 608, 64, 64, 608, 64, 1424, 64, 608, 64, 64, 608};  // padded to 16
    for (size_t i = 0; i < kBurst; ++i) {
      keys_[i].bytes().front() = static_cast<std::byte>(i + 1);
      const Bytes text = Bytes(buffers_[i]).first(kSizes[i % kSizes.size()]);
      seal_[i] = {&keys_[i], i, text, text.data() + text.size()};
      open_[i] = {&keys_[i], i, text, text.data() + text.size()};
    }
  }

  double time(AeadEngine& engine) noexcept {
    const auto start = Clock::now();
    engine.seal(seal_);
    engine.open(open_);
    return Nanoseconds(Clock::now() - start).count() / kBurst;
  }

 private:
  struct Buffer : std::array<std::byte, 2048 + 128> {};  // as far apart as packet buffers are, roughly
  std::vector<Buffer> buffers_;
  std::array<Secret<32>, kBurst> keys_;
  std::array<SealJob, kBurst> seal_;
  std::array<OpenJob, kBurst> open_;
};

}  // namespace

std::vector<EngineSpeed> measure_engines(std::span<const std::unique_ptr<AeadEngine>> engines) {
  std::vector<EngineSpeed> speeds;
  for (const auto& engine : engines) speeds.push_back({engine->name(), std::numeric_limits<double>::infinity()});
  Mix mix;
  for (int turn = 0; turn < kTurns; ++turn)
    for (size_t i = 0; i < engines.size(); ++i)
      for (const auto end = Clock::now() + kTurn; Clock::now() < end;)
        speeds[i].nanoseconds = std::min(speeds[i].nanoseconds, mix.time(*engines[i]));
  return speeds;
}

std::string_view fastest_engine(std::span<const EngineSpeed> engines) noexcept {
  constexpr double kClearly = 0.95;
  EngineSpeed best = engines.front();
  for (const EngineSpeed& engine : engines)
    if (engine.nanoseconds < kClearly * best.nanoseconds) best = engine;
  return best.name;
}

}  // namespace sluice
