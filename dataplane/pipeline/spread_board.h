// Cipher work that a saturated worker shares with those that have time to spare. Every worker has a few bursts here,
// cut into chunks. The owner writes a burst's jobs and publishes it; owner and helpers take chunks with the same
// compare-and-swap, so that each chunk has exactly one worker; helpers say when theirs are done. Nothing is copied and
// nothing waits here: what becomes of the packets, and how long to wait for a chunk, is the owner's business
// (spread.h).
//
//   claims   next chunk of each burst   all write     a claim acquires what publish() released: the jobs
//   done     chunks that helpers did    helpers write their release pairs with the owner's acquire: texts, tags,
//   verdicts
//
// The owner uses a burst again only when all its chunks are done, so no helper ever holds one that has changed.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "dataplane/base/strong.h"
#include "dataplane/crypto/aead.h"

namespace sluice {

enum class Cipher : uint8_t { kSeal, kOpen };

// Jobs of one burst in the order of its packets, and what comes out besides texts and tags. Chunks start on cache
// lines.
struct SharedBurst {
  static constexpr unsigned kMaxJobs = AeadEngine::kMaxBurst;
  static constexpr unsigned kChunkStep = 8;  // chunks are multiples of it
  static constexpr unsigned kMaxChunks = kMaxJobs / kChunkStep;

  Cipher cipher = Cipher::kSeal;
  Sums sums = Sums::kUnwanted;
  uint16_t jobs = 0;  // so many of the arrays below
  uint16_t jobs_per_chunk = kChunkStep;
  alignas(64) std::array<SealJob, kMaxJobs> seal;
  alignas(64) std::array<OpenJob, kMaxJobs> open;
  alignas(64) std::array<uint64_t, kMaxChunks> ticks;  // that a helper spent on the chunk

  unsigned chunks() const noexcept { return (jobs + jobs_per_chunk - 1u) / jobs_per_chunk; }
  unsigned first_of(unsigned chunk) const noexcept { return chunk * jobs_per_chunk; }
  unsigned size_of(unsigned chunk) const noexcept {
    const unsigned left = jobs - first_of(chunk);
    return left < jobs_per_chunk ? left : jobs_per_chunk;
  }
  // Does the cipher work of `n` jobs from `first` on.
  void work(unsigned first, unsigned n, AeadEngine& engine) noexcept;
};

// A set of chunks of one burst.
using Chunks = uint64_t;
static_assert(SharedBurst::kMaxChunks <= 64);

// The bursts of one worker.
class SharedBursts {
 public:
  static constexpr unsigned kSlots = 8;
  struct Claim {
    unsigned slot, chunk;
  };

  SharedBurst& at(unsigned slot) noexcept { return bursts_[slot]; }

  // The owner.
  void publish(unsigned slot) noexcept;                  // its jobs are written
  Chunks done_by_helpers(unsigned slot) const noexcept;  // what they wrote may be read

  // Anyone.
  std::optional<Claim> claim_of(unsigned slot) noexcept;  // the next chunk of this burst
  std::optional<Claim> claim_oldest() noexcept;           // of the oldest burst that has one left

  // Helpers: the work is done, and nothing of the burst is held any more.
  void finish(const Claim& claim) noexcept;

 private:
  // Sequence number of the burst (32 bits), its chunks (16), the next one to take (16). The number makes the
  // compare-and-swap fail if the slot has been used again meanwhile.
  alignas(64) std::array<std::atomic<uint64_t>, kSlots> claims_{};
  alignas(64) std::array<std::atomic<Chunks>, kSlots> done_{};
  alignas(64) uint32_t sequence_ = 0;  // the owner's
  std::array<SharedBurst, kSlots> bursts_;
};

// All workers' bursts, and who wants help.
class SpreadBoard {
 public:
  explicit SpreadBoard(unsigned workers);
  SharedBursts& of(WorkerId worker) noexcept { return bursts_[worker.value]; }

  // Written by each worker when it changes; a look costs next to nothing while it does not.
  void set_saturated(WorkerId worker, bool saturated) noexcept;
  bool anyone_saturated() const noexcept { return saturated_.load(std::memory_order_relaxed) != 0; }

  // Does one chunk of another worker's, if there is one. Returns the number of its packets.
  unsigned help(WorkerId self, AeadEngine& engine) noexcept;

 private:
  alignas(64) std::atomic<uint64_t> saturated_{0};  // bit: worker
  alignas(64) std::unique_ptr<SharedBursts[]> bursts_;
};

}  // namespace sluice
