#include "dataplane/session/session_table.h"

#include <cassert>

#include "dataplane/session/slab.h"

namespace sluice {
namespace {

constinit Slab all_keypairs(sizeof(Keypair));

// At half load a draw meets a taken slot every other time: all of these in a row is a chance of 2^-128.
constexpr int kMaxDraws = 128;

}  // namespace

void* Keypair::operator new(size_t) { return all_keypairs.allocate(); }
void Keypair::operator delete(void* keypair) noexcept { all_keypairs.release(keypair); }

SessionTable::SessionTable(uint32_t slots, Rng& rng, uint16_t workers)
    : mask_(slots - 1), worker_mask_(worker_mask(workers)), rng_(rng), slots_(slots), taken_((slots + 63) / 64) {
  assert(std::has_single_bit(slots) && worker_mask_ <= mask_);
}

Keypair* SessionTable::find(uint32_t index) const noexcept {
  Keypair* keypair = slots_[index & mask_].load(std::memory_order_acquire);  // pairs with publish
  return keypair != nullptr && keypair->local_index == index ? keypair : nullptr;
}

void SessionTable::find_burst(std::span<const uint32_t> indices, std::span<Keypair*> found) const noexcept {
  for (size_t i = 0; i < indices.size(); ++i) {
    found[i] = slots_[indices[i] & mask_].load(std::memory_order_acquire);  // pairs with publish
    __builtin_prefetch(found[i]);                                           // of nullptr: harmless
  }
  for (size_t i = 0; i < indices.size(); ++i)
    if (found[i] != nullptr && found[i]->local_index != indices[i]) found[i] = nullptr;
}

std::optional<uint32_t> SessionTable::reserve_index(WorkerId worker) noexcept {
  assert(worker.value <= worker_mask_);
  for (int draw = 0; draw < kMaxDraws; ++draw) {
    const uint32_t index = (rng_.next_u32() & ~worker_mask_) | worker.value;
    const uint32_t slot = index & mask_;
    if (is_taken(slot)) continue;
    taken_[slot / 64] |= uint64_t{1} << (slot % 64);
    return index;
  }
  return std::nullopt;
}

void SessionTable::publish(Keypair* keypair) noexcept {
  const uint32_t slot = keypair->local_index & mask_;
  assert(is_taken(slot) && slots_[slot].load(std::memory_order_relaxed) == nullptr);
  slots_[slot].store(keypair, std::memory_order_release);  // pairs with the acquire in find and find_burst
}

void SessionTable::withdraw(uint32_t index) noexcept {
  if (find(index) != nullptr) slots_[index & mask_].store(nullptr, std::memory_order_release);
}

void SessionTable::release_index(uint32_t index) noexcept {
  const uint32_t slot = index & mask_;
  assert(is_taken(slot) && slots_[slot].load(std::memory_order_relaxed) == nullptr);
  taken_[slot / 64] &= ~(uint64_t{1} << (slot % 64));
}

}  // namespace sluice
