#include "dataplane/session/session_table.h"

#include <algorithm>
#include <cassert>

namespace sluice {
namespace {

// At half load a draw meets a taken slot every other time: all of these in a row is a chance of 2^-128.
constexpr int kMaxDraws = 128;

constexpr uint32_t kLeastTogether = 1 << 10;

}  // namespace

SessionTable::SessionTable(uint32_t slots, Rng& rng, uint16_t workers)
    : mask_(slots - 1),
      worker_mask_(worker_mask(workers)),
      rng_(rng),
      keys_(slots),
      keypairs_(slots),
      taken_((size_t{slots} + 63) / 64),
      together_(std::min(mask_, kLeastTogether - 1)) {
  assert(std::has_single_bit(slots) && worker_mask_ <= together_);
}

SessionTable::~SessionTable() {
  for (uint32_t slot = 0; slot <= together_; ++slot) {
    if (!is_taken(slot)) continue;
    keys_.withdraw(slot);
    keys_.destroy(slot);
  }
}

std::optional<uint32_t> SessionTable::reserve_index(WorkerId worker) noexcept {
  assert(worker.value <= worker_mask_);
  const auto widen = [this] { return together_ = std::min(mask_, together_ * 2 + 1); };
  if (in_use_ > together_ / 4 * 3) widen();
  std::optional<uint32_t> index = draw_index(worker);
  while (!index && together_ != mask_) {  // this worker has more of them than others
    widen();
    index = draw_index(worker);
  }
  if (!index) return index;
  const uint32_t slot = slot_of(*index);
  taken_[slot / 64] |= uint64_t{1} << (slot % 64);
  keys_.make(slot).local_index = *index;
  ++in_use_;
  return index;
}

std::optional<uint32_t> SessionTable::draw_index(WorkerId worker) noexcept {
  for (int draw = 0; draw < kMaxDraws; ++draw) {
    const uint32_t random = (rng_.next_u32() & ~worker_mask_) | worker.value;
    const uint32_t slot = slot_of(random) & together_;
    if (!is_taken(slot)) return (random & ~mask_) | (slot ^ scatter(random));
  }
  return std::nullopt;
}

void SessionTable::publish(Keypair& keypair) noexcept {
  const uint32_t slot = slot_of(keypair.receiving.local_index);
  assert(is_taken(slot) && &keypair.receiving == &keys_.at(slot));
  keypairs_[slot] = &keypair;
  keys_.publish(slot);
}

void SessionTable::withdraw(uint32_t index) noexcept {
  if (find(index) != nullptr) keys_.withdraw(slot_of(index));
}

void SessionTable::release_index(uint32_t index) noexcept {
  const uint32_t slot = slot_of(index);
  assert(is_taken(slot));
  keys_.destroy(slot);
  taken_[slot / 64] &= ~(uint64_t{1} << (slot % 64));
  --in_use_;
}

size_t SessionTable::bytes_in_use() const noexcept {
  return (size_t{together_} + 1) * (sizeof(ReceivingKey) + sizeof(Keypair*));
}

}  // namespace sluice
