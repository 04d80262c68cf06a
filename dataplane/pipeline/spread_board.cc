#include "dataplane/pipeline/spread_board.h"

#include <rte_cycles.h>

#include <bit>
#include <span>

namespace sluice {
namespace {

// A claim word: see SharedBursts::claims_.
constexpr uint64_t word_of(uint32_t sequence, unsigned chunks) { return uint64_t{sequence} << 32 | chunks << 16; }
constexpr uint32_t sequence_of(uint64_t word) { return static_cast<uint32_t>(word >> 32); }
constexpr unsigned chunks_of(uint64_t word) { return word >> 16 & 0xffff; }
constexpr unsigned next_of(uint64_t word) { return word & 0xffff; }
constexpr bool has_work(uint64_t word) { return next_of(word) < chunks_of(word); }

}  // namespace

void SharedBurst::work(unsigned first, unsigned n, AeadEngine& engine) noexcept {
  if (cipher == Cipher::kOpen) return engine.open(std::span(open).subspan(first, n), sums);
  engine.seal(std::span(seal).subspan(first, n), sums);
}

void SharedBursts::publish(unsigned slot) noexcept {
  done_[slot].store(0, std::memory_order_relaxed);
  claims_[slot].store(word_of(++sequence_, bursts_[slot].chunks()), std::memory_order_release);
}

Chunks SharedBursts::done_by_helpers(unsigned slot) const noexcept {
  return done_[slot].load(std::memory_order_acquire);
}

std::optional<SharedBursts::Claim> SharedBursts::claim_of(unsigned slot) noexcept {
  uint64_t word = claims_[slot].load(std::memory_order_relaxed);
  while (has_work(word)) {
    if (claims_[slot].compare_exchange_weak(word, word + 1, std::memory_order_acquire, std::memory_order_relaxed))
      return Claim{slot, next_of(word)};
  }
  return std::nullopt;
}

std::optional<SharedBursts::Claim> SharedBursts::claim_oldest() noexcept {
  for (;;) {
    unsigned oldest = kSlots;
    uint32_t sequence = 0;
    for (unsigned slot = 0; slot < kSlots; ++slot) {
      const uint64_t word = claims_[slot].load(std::memory_order_relaxed);
      if (!has_work(word)) continue;
      if (oldest != kSlots && static_cast<int32_t>(sequence_of(word) - sequence) > 0) continue;
      oldest = slot;
      sequence = sequence_of(word);
    }
    if (oldest == kSlots) return std::nullopt;
    if (const auto claim = claim_of(oldest)) return claim;
  }
}

void SharedBursts::finish(const Claim& claim) noexcept {
  done_[claim.slot].fetch_or(Chunks{1} << claim.chunk, std::memory_order_release);
}

SpreadBoard::SpreadBoard(unsigned workers) : bursts_(std::make_unique<SharedBursts[]>(workers)) {}

void SpreadBoard::set_saturated(WorkerId worker, bool saturated) noexcept {
  const uint64_t bit = uint64_t{1} << worker.value;
  if (saturated) {
    saturated_.fetch_or(bit, std::memory_order_relaxed);
  } else {
    saturated_.fetch_and(~bit, std::memory_order_relaxed);
  }
}

unsigned SpreadBoard::help(WorkerId self, AeadEngine& engine) noexcept {
  // From ourselves upwards, so that several helpers do not all go to the same worker.
  const uint64_t wanting = saturated_.load(std::memory_order_relaxed);
  for (uint64_t left = std::rotr(wanting & ~(uint64_t{1} << self.value), self.value); left != 0; left &= left - 1) {
    const unsigned owner = (static_cast<unsigned>(std::countr_zero(left)) + self.value) % 64;
    SharedBursts& bursts = bursts_[owner];
    const auto claim = bursts.claim_oldest();
    if (!claim) continue;
    SharedBurst& burst = bursts.at(claim->slot);
    const unsigned packets = burst.size_of(claim->chunk);
    const uint64_t began = rte_rdtsc();
    burst.work(burst.first_of(claim->chunk), packets, engine);
    burst.ticks[claim->chunk] = rte_rdtsc() - began;
    bursts.finish(*claim);
    return packets;
  }
  return 0;
}

}  // namespace sluice
