#include "dataplane/crypto/aead_lanes.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <utility>

#include "dataplane/crypto/aead_sodium.h"
#include "dataplane/crypto/lanes/kernel.h"
#include "dataplane/wire/messages.h"

namespace sluice {
namespace {

using lanes::Blocks;
using lanes::Burst;
using lanes::Kernel;

class LanesEngine final : public AeadEngine {
 public:
  // `for_few`, if any, takes bursts of too few packets for the kernel to be quicker.
  LanesEngine(std::string_view name, const Kernel& kernel, std::unique_ptr<AeadEngine> for_few)
      : name_(name), kernel_(kernel), for_few_(std::move(for_few)) {}

  std::string_view name() const noexcept override { return name_; }

  void read_after_next(std::span<const void* const> lines) noexcept override {
    burst_.ahead = lines.data();
    burst_.ahead_count = lines.size();
  }

  void seal(std::span<SealJob> jobs, Sums sums) noexcept override {
    for_few_&& are_few(std::span<const SealJob>(jobs)) ? for_few_->seal(jobs, sums) : seal_many(jobs, sums);
    ask_for_the_rest();
  }

  void open(std::span<OpenJob> jobs, Sums sums) noexcept override {
    for_few_&& are_few(std::span<const OpenJob>(jobs)) ? for_few_->open(jobs, sums) : open_many(jobs, sums);
    ask_for_the_rest();
  }

 private:
  void seal_many(std::span<SealJob> jobs, Sums sums) noexcept {
    in_bursts(jobs, [this, sums](auto job_at) {
      kernel_.apply_keystream(burst_, Blocks::kAll);
      authenticate(sums);
      kernel_.erase_stack();
      for (size_t i = 0; i < burst_.count; ++i) {
        SealJob& job = job_at(i);
        std::memcpy(job.tag, burst_.tags[i], kTagSize);
        if (sums == Sums::kWanted) add_to_sum(job, i);
      }
    });
  }

  void open_many(std::span<OpenJob> jobs, Sums sums) noexcept {
    in_bursts(jobs, [this, sums](auto job_at) {
      kernel_.apply_keystream(burst_, Blocks::kFirst);
      authenticate(sums);
      const size_t genuine = judge(job_at, sums);
      const auto tags = std::span(burst_.tags).first(burst_.count + Burst::kBehind);
      wipe(std::as_writable_bytes(tags));  // the right ones of forged texts
      burst_.count = genuine;
      kernel_.apply_keystream(burst_, Blocks::kText);
      kernel_.erase_stack();
    });
  }

  // Of the lines for afterwards. Nothing of them is kept: their list is the caller's.
  void ask_for_the_rest() noexcept {
    AeadEngine::read_after_next({burst_.ahead, std::exchange(burst_.ahead_count, 0)});
  }

  // Where most lanes would stay empty libsodium is quicker. Measured on Cascade Lake (AVX-512), in nanoseconds a
  // packet, sealed and opened: one of 64 bytes 540 and 550 by libsodium, 740 and 1170 by these kernels, which catch up
  // at 1 KB; two of 64 bytes 377 and 388, 302 and 476.
  static bool are_few(std::span<const SealJob> jobs) noexcept { return jobs.size() == 1 && bytes_of(jobs) < 1024; }
  static bool are_few(std::span<const OpenJob> jobs) noexcept {
    return jobs.size() <= 2 && bytes_of(jobs) < (jobs.size() == 1 ? 1024 : 256);
  }

  template <class Job>
  static size_t bytes_of(std::span<const Job> jobs) noexcept {
    size_t bytes = 0;
    for (const Job& job : jobs) bytes += job.text.size();
    return bytes;
  }

  void authenticate(Sums sums) noexcept {
    sums == Sums::kWanted ? kernel_.authenticate_and_add_up(burst_) : kernel_.authenticate(burst_);
  }

  template <class Job>
  void add_to_sum(Job& job, size_t i) noexcept {
    job.sum = sum_with_tag(job.sum + burst_.sums[i], job.text.size(), job.tag);
  }

  // Compares the tags; leaves only the genuine packets in the burst. Returns how many.
  template <class JobAt>
  size_t judge(JobAt job_at, Sums sums) noexcept {
    bool all = true;
    for (size_t i = 0; i < burst_.count; ++i) {
      OpenJob& job = job_at(i);
      if (sums == Sums::kWanted) add_to_sum(job, i);
      job.ok = tags_equal(burst_.tags[i], job.tag);
      all &= job.ok;
    }
    return all ? burst_.count : leave_out_forged(job_at);
  }

  template <class JobAt>
  [[gnu::noinline]] size_t leave_out_forged(JobAt job_at) noexcept {
    size_t genuine = 0;
    for (size_t i = 0; i < burst_.count; ++i) {
      OpenJob& job = job_at(i);
      job.ok ? set_packet(genuine++, job) : wipe(job.text);
    }
    return genuine;
  }

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

  // Sets order_. A counting sort by 64 bytes: nothing depends on the order but how well lanes are used.
  template <class Job>
  void sort_longest_first(std::span<const Job> jobs) noexcept {
    bool alike = true;
    for (const Job& job : jobs) alike &= blocks_of(job) == blocks_of(jobs.front());
    if (alike && as_they_come_) return;
    as_they_come_ = alike;
    if (alike) return std::iota(order_.begin(), order_.end(), uint8_t{0});
    constexpr size_t kClasses = 32;
    const auto class_of = [](const Job& job) { return kClasses - 1 - std::min(blocks_of(job), kClasses - 1); };
    std::array<uint16_t, kClasses> next{};
    for (const Job& job : jobs) ++next[class_of(job)];
    uint16_t sum = 0;
    for (uint16_t& n : next) sum = static_cast<uint16_t>(sum + std::exchange(n, sum));
    for (size_t i = 0; i < jobs.size(); ++i) order_[next[class_of(jobs[i])]++] = static_cast<uint8_t>(i);
  }
  template <class Job>
  static size_t blocks_of(const Job& job) noexcept {
    return (job.text.size() + 63) / 64;
  }

  template <class JobAt>
  void take_burst(size_t available, JobAt job_at) noexcept {
    const size_t limit = std::min(available, Burst::kMaxPackets);
    size_t bytes = 0, i = 0;
    for (; i < limit && (bytes < kBurstBytes || i % kRound != 0); ++i) {
      const auto& job = job_at(i);
      set_packet(i, job);
      bytes += job.text.size();
    }
    burst_.count = burst_taken_ = i;
  }

  template <class Job>
  void set_packet(size_t i, const Job& job) noexcept {
    burst_.key[i] = job.key->bytes().data();
    burst_.text[i] = job.text.data();
    burst_.size[i] = job.text.size();
    burst_.nonce[i] = job.nonce;
  }

  // In constant time. Here and not by libsodium: its function costs as much as a fifth of opening a small packet.
  static bool tags_equal(const std::byte* a, const std::byte* b) noexcept {
    uint64_t x[2], y[2];
    static_assert(sizeof x == kTagSize);
    std::memcpy(x, a, sizeof x);
    std::memcpy(y, b, sizeof y);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
  }

  const std::string_view name_;
  const Kernel& kernel_;
  const std::unique_ptr<AeadEngine> for_few_;
  Burst burst_;
  size_t burst_taken_ = 0;                              // jobs of it
  std::array<uint8_t, AeadEngine::kMaxBurst> order_{};  // job numbers, longest text first
  bool as_they_come_ = false;                           // order_ is 0, 1, 2 ...
};

std::unique_ptr<AeadEngine> make(std::string_view name, const Kernel* kernel) {
  return kernel == nullptr ? nullptr : make_lanes_engine(name, *kernel);
}

}  // namespace

std::unique_ptr<AeadEngine> make_lanes_engine(std::string_view name, const Kernel& kernel) {
  return std::make_unique<LanesEngine>(name, kernel, nullptr);
}
std::unique_ptr<AeadEngine> make_lanes_engine() {
  for (const auto kernel : {lanes::kernel_avx512ifma, lanes::kernel_avx512, lanes::kernel_avx2})
    if (kernel() != nullptr) return std::make_unique<LanesEngine>(kLanesEngine, *kernel(), make_sodium_engine());
  return nullptr;
}
std::unique_ptr<AeadEngine> make_lanes_engine_avx2() { return make(kLanesAvx2Engine, lanes::kernel_avx2()); }
std::unique_ptr<AeadEngine> make_lanes_engine_avx512() { return make(kLanesAvx512Engine, lanes::kernel_avx512()); }
std::unique_ptr<AeadEngine> make_lanes_engine_avx512ifma() {
  return make(kLanesAvx512IfmaEngine, lanes::kernel_avx512ifma());
}

}  // namespace sluice
