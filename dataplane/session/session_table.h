// Receiver index -> Keypair, directly mapped: local indices are drawn at random such that their low bits name a free
// slot, so a look-up is one load and one compare, without probing. Workers read under RCU; control is the only writer.
//
// The table is the only place that hands out local indices; handshakes in progress reserve theirs here too, so
// indices are unique over handshakes and keypairs (protocol.md section 8), and a keypair inherits its handshake's
// index. The lowest bits of an index name a worker, as many as it takes to tell them apart: a port that steers
// (port/steering.h) delivers what carries the index to that worker.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <optional>
#include <span>

#include "dataplane/base/random.h"
#include "dataplane/session/keypair.h"
#include "dataplane/session/zero_pages.h"

namespace sluice {

class SessionTable {
 public:
  // Slots: a power of two, at least twice the indices in use at once (memory is touched only where used). Where the
  // number of workers is none, those of names that no worker has stay empty: twice as many.
  SessionTable(uint32_t slots, Rng& rng, uint16_t workers = 1);

  // The bits of an index that name a worker.
  static constexpr uint32_t worker_mask(uint16_t workers) noexcept { return std::bit_ceil(uint32_t{workers}) - 1; }

  // Workers: nullptr if no keypair has this index (also when it belongs to a handshake in progress).
  Keypair* find(uint32_t index) const noexcept;
  // find_burst() will ask for it in a moment.
  void prefetch(uint32_t index) const noexcept { __builtin_prefetch(&slots_[index & mask_]); }
  // Burst form: asks for all keypairs before it looks at one. found[i] belongs to indices[i].
  void find_burst(std::span<const uint32_t> indices, std::span<Keypair*> found) const noexcept;

  // Control only.
  // Names `worker` and is random otherwise, its slot now taken. nullopt: no free slot was met; at half load that is as
  // likely as guessing a key.
  std::optional<uint32_t> reserve_index(WorkerId worker = WorkerId{0}) noexcept;
  void publish(Keypair* keypair) noexcept;      // at keypair->local_index, which was reserved
  void withdraw(uint32_t index) noexcept;       // not found any more, the slot stays taken until release
  void release_index(uint32_t index) noexcept;  // after the grace period (or a handshake that came to nothing)

 private:
  bool is_taken(uint32_t slot) const noexcept { return ((taken_[slot / 64] >> (slot % 64)) & 1) != 0; }

  uint32_t mask_;
  uint32_t worker_mask_;
  Rng& rng_;
  ZeroPages<std::atomic<Keypair*>> slots_;  // [mask_ + 1]
  ZeroPages<uint64_t> taken_;               // one bit per slot; control only
};

}  // namespace sluice
