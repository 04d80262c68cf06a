// One tunnel on many cores, as the worker that owns the packets sees it. While it is saturated, its bursts' cipher work
// is open to all workers (spread_board.h), and it goes on with the next burst meanwhile:
//
//   begin, publish   a burst reaches the cipher: its jobs are laid out for all
//   join             the oldest burst comes back: the owner does what nobody has taken, waits for the rest, and goes on
//                    down the line with the packets
//
// Bursts come back in the order in which they were begun, seals and opens each in a line of their own, before anything
// stateful looks at them: replay window, roaming and delivery, counter order and wire order are what they are without
// spreading. All of a poll's bursts come back within the poll, so that no pointer outlives it.
//
// A helper may stall in the middle of a chunk (its core was taken away). The owner does not wait longer than a moment:
// packets are worked on in place, so nobody else can do those again; they are dropped (`spread_stalled`), but their
// buffers, their keys and their slot stay untouched until the helper comes back. Until then the worker reports no
// quiescent state: reclamation waits, packets do not. Work that nobody has begun is never lost: the owner does it.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "dataplane/pipeline/context.h"
#include "dataplane/pipeline/saturation.h"
#include "dataplane/pipeline/spread_board.h"

namespace sluice {

class Spread {
 public:
  struct Options {
    unsigned min_packets = 16;     // a smaller burst is not worth it
    unsigned chunk_bytes = 40960;  // about so much text in a chunk: half a burst of large packets
    unsigned give_up_after = 8;    // bursts in a row in which nobody had time; then only few are tried
    Nanoseconds patience = std::chrono::microseconds(100);  // with a helper's last chunk
    Nanoseconds window = std::chrono::microseconds(200);    // over which saturation is judged
    Saturation::Levels saturation;
  };

  // Bursts of a kind that may be under way at once: the owner finishes one, and others have a whole one before them.
  static constexpr unsigned kDepth = 3;

  Spread(SpreadBoard& board, WorkerContext& context, const Options& options) noexcept;
  ~Spread();  // no worker runs any more
  Spread(const Spread&) = delete;
  Spread& operator=(const Spread&) = delete;

  // --- The line ---
  // Whether this burst has to go through begin(): it pays, or older ones are still under way and keep their place.
  bool wants(Cipher cipher, const Burst& packets) noexcept;
  unsigned under_way(Cipher cipher) const noexcept { return line_of(cipher).count; }
  // Takes the packets; the caller writes their jobs, in order, and calls publish(). nullptr: no room, at most kDepth -
  // 1 bursts may be under way; nothing is taken.
  SharedBurst* begin(Cipher cipher, Burst& packets) noexcept;
  void publish() noexcept;

  struct Joined {
    const SharedBurst& work;
    std::span<rte_mbuf* const> packets;  // in the order of the jobs
    Chunks stalled;                      // these are not ours (any more)
    template <class Each>
    void for_each(Each each) const noexcept {
      for (unsigned i = 0; i < packets.size(); ++i) {
        if ((stalled >> i / work.jobs_per_chunk & 1) == 0) each(packets[i], i);
      }
    }
  };
  // The oldest burst, of which there must be one. What it returns is valid until the next begin().
  Joined join(Cipher cipher) noexcept;

  // --- The worker, between polls ---
  bool saturated() const noexcept { return saturation_.saturated(); }
  void end_poll(Saturation::Poll poll) noexcept;
  // Takes back what stalled helpers have finished. False: they still hold packets and keys of ours.
  bool reclaim() noexcept;

 private:
  struct Line {  // slots under way, oldest first
    std::array<uint8_t, kDepth> slots;
    unsigned count = 0;
  };
  struct Slot {
    Burst packets;
    Chunks own = 0;      // chunks that we did
    Chunks stalled = 0;  // that we gave up waiting for
    bool used = false;
  };

  Line& line_of(Cipher cipher) noexcept { return lines_[static_cast<size_t>(cipher)]; }
  const Line& line_of(Cipher cipher) const noexcept { return lines_[static_cast<size_t>(cipher)]; }
  Chunks missing(unsigned slot) const noexcept;
  Chunks wait_for(unsigned slot) noexcept;
  void work(const SharedBursts::Claim& claim) noexcept;
  void give_up(unsigned slot, Chunks stalled) noexcept;
  void prefetch_helped(unsigned slot) const noexcept;
  void count_help(unsigned slot) noexcept;
  void free_stalled(Slot& slot, const SharedBurst& burst) noexcept;
  bool anyone_helps() noexcept;

  SpreadBoard& board_;
  WorkerContext& context_;
  SharedBursts& shared_;
  const Options options_;
  const uint64_t patience_;  // ticks
  Saturation saturation_;
  std::array<Line, 2> lines_;
  std::array<Slot, SharedBursts::kSlots> slots_;
  unsigned begun_ = 0;     // slot between begin() and publish()
  unsigned stalled_ = 0;   // slots with stalled chunks
  uint64_t helped_ = 0;    // ticks since the last end_poll()
  unsigned unhelped_ = 0;  // bursts in a row that we did alone
};

}  // namespace sluice
