// Receiver index -> ReceivingKey, directly mapped: local indices are drawn at random such that their slot is free, so a
// look-up is a bit and a compare, without probing, and the key lies in its slot: who sees an index knows where to look,
// before any memory was. Workers read under RCU; control is the only writer.
//
// The table is the only place that hands out local indices; handshakes in progress reserve theirs here too, so
// indices are unique over handshakes and keypairs (protocol.md section 8), and a keypair inherits its handshake's
// index. The lowest bits of an index name a worker, as many as it takes to tell them apart: a port that steers
// (port/steering.h) delivers what carries the index to that worker.
//
// The slots in use are kept together, in the first part of the table that has room for them: few pages. So there are
// fewer indices than numbers, but none of their bits is always the same, save the worker's; that somebody who knows
// scatter() sees how many slots are in use does no harm.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "dataplane/base/random.h"
#include "dataplane/session/keypair.h"
#include "dataplane/session/places.h"

namespace sluice {

class SessionTable {
 public:
  // Slots: a power of two, at least twice the indices in use at once (memory is touched only where used). Where the
  // number of workers is none, those of names that no worker has stay empty: twice as many.
  SessionTable(uint32_t slots, Rng& rng, uint16_t workers = 1);
  ~SessionTable();  // and of all keys in it

  // The bits of an index that name a worker.
  static constexpr uint32_t worker_mask(uint16_t workers) noexcept { return std::bit_ceil(uint32_t{workers}) - 1; }

  // Workers: nullptr if no keypair has this index (also when it belongs to a handshake in progress).
  ReceivingKey* find(uint32_t index) const noexcept {
    ReceivingKey* key = keys_.find(slot_of(index));
    return key != nullptr && key->local_index == index ? key : nullptr;
  }
  // find() will be asked for it in a moment.
  void prefetch(uint32_t index) const noexcept { keys_.prefetch(slot_of(index)); }
  // Of a key that was found.
  Keypair& keypair_of(const ReceivingKey& key) const noexcept { return *keypairs_[slot_of(key.local_index)]; }

  uint32_t slot_of(uint32_t index) const noexcept { return (index ^ scatter(index)) & mask_; }

  // Control only.
  // Names `worker` and is random otherwise (as far as slots are kept together), its slot now taken, by a key that is
  // not published. nullopt: no free slot was met; at half load that is as likely as guessing a key.
  std::optional<uint32_t> reserve_index(WorkerId worker = WorkerId{0}) noexcept;
  ReceivingKey& reserved(uint32_t index) const noexcept { return keys_.at(slot_of(index)); }
  void publish(Keypair& keypair) noexcept;      // its receiving key is a reserved one
  void withdraw(uint32_t index) noexcept;       // not found any more, the slot stays taken until release
  void release_index(uint32_t index) noexcept;  // after the grace period (or a handshake that came to nothing)
  size_t bytes_in_use() const noexcept;         // of the slots that are kept together

 private:
  // What the bits above a slot's make of them: added to an index (exclusive or) it gives the slot, and the other way
  // round.
  uint32_t scatter(uint32_t index) const noexcept {
    constexpr uint64_t kFactor = 0x9e3779b97f4a7c15;  // 2^64 over the golden ratio
    return static_cast<uint32_t>((index & ~mask_) * kFactor >> 32) & mask_ & ~worker_mask_;
  }
  std::optional<uint32_t> draw_index(WorkerId worker) noexcept;
  bool is_taken(uint32_t slot) const noexcept { return ((taken_[slot / 64] >> (slot % 64)) & 1) != 0; }

  const uint32_t mask_;
  const uint32_t worker_mask_;
  Rng& rng_;
  Places<ReceivingKey> keys_;     // [mask_ + 1]
  ZeroPages<Keypair*> keypairs_;  // whose they are
  ZeroPages<uint64_t> taken_;     // one bit per slot; control only
  uint32_t together_;             // slots up to this one are handed out; control only
  uint32_t in_use_ = 0;           // control only
};

}  // namespace sluice
