#include "dataplane/crypto/aead_lanes.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "dataplane/crypto/lanes/kernel.h"
#include "dataplane/wire/messages.h"

namespace sluice {
namespace {

using lanes::Blocks;
using lanes::Burst;
using lanes::Kernel;

class LanesEngine final : public AeadEngine {
 public:
  LanesEngine(std::string_view name, const Kernel& kernel) : name_(name), kernel_(kernel) {}

  std::string_view name() const noexcept override { return name_; }

  void seal(std::span<SealJob> jobs) noexcept override {
    in_bursts(jobs, [this](auto job_at) {
      kernel_.apply_keystream(burst_, Blocks::kAll);
      kernel_.authenticate(burst_);
      for (size_t i = 0; i < burst_.count; ++i) std::memcpy(job_at(i).tag, burst_.tags[i], kTagSize);
      wipe_keys();
    });
  }

  void open(std::span<OpenJob> jobs) noexcept override {
    in_bursts(jobs, [this](auto job_at) {
      kernel_.apply_keystream(burst_, Blocks::kFirst);
      kernel_.authenticate(burst_);
      size_t genuine = 0;
      for (size_t i = 0; i < burst_.count; ++i) {
        OpenJob& job = job_at(i);
        job.ok = tags_equal(burst_.tags[i], job.tag);
        if (job.ok)
          burst_.packets[genuine++] = burst_.packets[i];
        else
          wipe(job.text);
      }
      wipe_keys();
      wipe(std::as_writable_bytes(std::span(burst_.tags, burst_.count)));  // the right tags of forged texts
      burst_.count = genuine;
      kernel_.apply_keystream(burst_, Blocks::kText);
    });
  }

 private:
  // The texts of a burst should still be in the L1 cache when their tags are computed. More packets are taken up to a
  // multiple of kRound, so that no lanes stay empty.
  static constexpr size_t kBurstBytes = 20 * 1024, kRound = 16;
  static_assert(Burst::kMaxPackets % kRound == 0);

  template <class Job, class Process>
  void in_bursts(std::span<Job> jobs, Process process) noexcept {
    while (!jobs.empty()) {
      const std::span<Job> window = jobs.first(std::min(jobs.size(), AeadEngine::kMaxBurst));
      jobs = jobs.subspan(window.size());
      sort_longest_first(std::span<const Job>(window));
      for (size_t start = 0; start < window.size(); start += burst_taken_) {
        const auto job_at = [this, window, start](size_t i) -> Job& { return window[order_[start + i]]; };
        take_burst(window.size() - start, job_at);
        process(job_at);
      }
    }
  }

  // Writes order_. A counting sort by 64 bytes: nothing depends on the order but how well lanes are used.
  template <class Job>
  void sort_longest_first(std::span<const Job> jobs) noexcept {
    constexpr size_t kClasses = 32;
    const auto class_of = [](const Job& job) { return kClasses - 1 - std::min(job.text.size() / 64, kClasses - 1); };
    std::array<uint16_t, kClasses> next{};
    bool alike = true;
    for (const Job& job : jobs) alike &= class_of(job) == class_of(jobs.front());
    if (!alike) {
      for (const Job& job : jobs) ++next[class_of(job)];
      uint16_t sum = 0;
      for (uint16_t& n : next) sum = static_cast<uint16_t>(sum + std::exchange(n, sum));
    }
    for (size_t i = 0; i < jobs.size(); ++i) order_[alike ? i : next[class_of(jobs[i])]++] = static_cast<uint8_t>(i);
  }

  template <class JobAt>
  void take_burst(size_t available, JobAt job_at) noexcept {
    const size_t limit = std::min(available, Burst::kMaxPackets);
    size_t bytes = 0, i = 0;
    for (; i < limit && (bytes < kBurstBytes || i % kRound != 0); ++i) {
      const auto& job = job_at(i);
      burst_.packets[i] = {job.key->bytes().data(), job.text.data(), job.text.size(), job.nonce};
      bytes += job.text.size();
    }
    burst_.count = burst_taken_ = i;
  }

  void wipe_keys() noexcept { wipe(std::as_writable_bytes(std::span(burst_.first_blocks, burst_.count))); }

  static bool tags_equal(const std::byte* a, const std::byte* b) noexcept {
    return crypto_verify_16(reinterpret_cast<const unsigned char*>(a), reinterpret_cast<const unsigned char*>(b)) == 0;
  }

  const std::string_view name_;
  const Kernel& kernel_;
  Burst burst_;
  size_t burst_taken_ = 0;                              // jobs of it
  std::array<uint8_t, AeadEngine::kMaxBurst> order_{};  // job numbers, longest text first
};

std::unique_ptr<AeadEngine> make(std::string_view name, const Kernel* kernel) {
  return kernel == nullptr ? nullptr : make_lanes_engine(name, *kernel);
}

}  // namespace

std::unique_ptr<AeadEngine> make_lanes_engine(std::string_view name, const Kernel& kernel) {
  return std::make_unique<LanesEngine>(name, kernel);
}
std::unique_ptr<AeadEngine> make_lanes_engine() {
  for (const auto kernel : {lanes::kernel_avx512ifma, lanes::kernel_avx512, lanes::kernel_avx2})
    if (auto engine = make(kLanesEngine, kernel())) return engine;
  return nullptr;
}
std::unique_ptr<AeadEngine> make_lanes_engine_avx2() { return make(kLanesAvx2Engine, lanes::kernel_avx2()); }
std::unique_ptr<AeadEngine> make_lanes_engine_avx512() { return make(kLanesAvx512Engine, lanes::kernel_avx512()); }
std::unique_ptr<AeadEngine> make_lanes_engine_avx512ifma() {
  return make(kLanesAvx512IfmaEngine, lanes::kernel_avx512ifma());
}

}  // namespace sluice
