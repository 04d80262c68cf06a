#include "dataplane/pipeline/spread.h"

#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <rte_pause.h>
#include <rte_prefetch.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "dataplane/wire/ip.h"

namespace sluice {
namespace {

constexpr unsigned kTryAgain = 16;  // of so many bursts one, while all others are busy

uint64_t ticks_of(Nanoseconds time) noexcept {
  return static_cast<uint64_t>(time.count()) * (rte_get_tsc_hz() / 1'000'000) / 1000;
}

Chunks all_of(const SharedBurst& burst) noexcept { return ~Chunks{0} >> (64 - burst.chunks()); }

size_t text_of(const SharedBurst& burst) noexcept {
  size_t bytes = 0;
  for (unsigned i = 0; i < burst.jobs; ++i)
    bytes += burst.cipher == Cipher::kSeal ? burst.seal[i].text.size() : burst.open[i].text.size();
  return bytes;
}

// A multiple of kChunkStep with about as much text as wanted, but not all jobs in one chunk.
uint16_t jobs_per_chunk(const SharedBurst& burst, size_t chunk_bytes) noexcept {
  constexpr size_t kStep = SharedBurst::kChunkStep;
  const size_t by_bytes = burst.jobs * chunk_bytes / std::max<size_t>(text_of(burst), 1);
  const size_t wanted = std::clamp<size_t>(by_bytes, kStep, std::max<size_t>(burst.jobs / 2, kStep));
  return static_cast<uint16_t>((wanted + kStep - 1) / kStep * kStep);
}

}  // namespace

Spread::Spread(SpreadBoard& board, WorkerContext& context, const Options& options) noexcept
    : board_(board),
      context_(context),
      shared_(board.of(context.id)),
      options_(options),
      patience_(ticks_of(options.patience)),
      saturation_(ticks_of(options.window), options.saturation) {}

Spread::~Spread() {
  for (unsigned i = 0; i < slots_.size(); ++i) {
    if (slots_[i].stalled != 0) free_stalled(slots_[i], shared_.at(i));
  }
}

// --- begin ---

bool Spread::wants(Cipher cipher, const Burst& packets) noexcept {
  if (line_of(cipher).count != 0) return true;
  return saturated() && packets.count >= options_.min_packets && anyone_helps();
}

bool Spread::anyone_helps() noexcept {
  if (unhelped_ < options_.give_up_after) return true;
  return ++unhelped_ % kTryAgain == 0;
}

SharedBurst* Spread::begin(Cipher cipher, Burst& packets) noexcept {
  const auto slot = std::find_if(slots_.begin(), slots_.end(), [](const Slot& s) { return !s.used; });
  if (slot == slots_.end()) return nullptr;
  begun_ = static_cast<unsigned>(slot - slots_.begin());
  slot->used = true;
  slot->own = 0;
  slot->packets.count = std::exchange(packets.count, 0);
  std::copy_n(packets.packets, slot->packets.count, slot->packets.packets);
  Line& line = line_of(cipher);
  line.slots[line.count++] = static_cast<uint8_t>(begun_);
  SharedBurst& burst = shared_.at(begun_);
  burst.cipher = cipher;
  burst.jobs = static_cast<uint16_t>(slot->packets.count);
  return &burst;
}

void Spread::publish() noexcept {
  SharedBurst& burst = shared_.at(begun_);
  burst.jobs_per_chunk = jobs_per_chunk(burst, options_.chunk_bytes);
  shared_.publish(begun_);
  WorkerStats::bump(context_.stats->spread_bursts, 1);
}

// --- join ---

Spread::Joined Spread::join(Cipher cipher) noexcept {
  Line& line = line_of(cipher);
  const unsigned slot = line.slots[0];
  std::copy(line.slots.begin() + 1, line.slots.end(), line.slots.begin());
  --line.count;
  while (const auto claim = shared_.claim_of(slot)) work(*claim);
  const Chunks stalled = wait_for(slot);
  prefetch_helped(slot);
  count_help(slot);
  if (stalled != 0) {
    give_up(slot, stalled);
  } else {
    slots_[slot].used = false;
  }
  return {shared_.at(slot), slots_[slot].packets.all(), stalled};
}

void Spread::work(const SharedBursts::Claim& claim) noexcept {
  SharedBurst& burst = shared_.at(claim.slot);
  burst.work(burst.first_of(claim.chunk), burst.size_of(claim.chunk), *context_.engine);
  slots_[claim.slot].own |= Chunks{1} << claim.chunk;
}

Chunks Spread::missing(unsigned slot) const noexcept {
  return all_of(shared_.at(slot)) & ~(slots_[slot].own | shared_.done_by_helpers(slot));
}

// All chunks are taken: until the helpers' last ones are back, there may be younger bursts to work on. What is missing
// when patience is over.
Chunks Spread::wait_for(unsigned slot) noexcept {
  Chunks left = missing(slot);
  for (const uint64_t began = rte_rdtsc(); left != 0; left = missing(slot)) {
    if (const auto claim = shared_.claim_oldest()) {
      work(*claim);
    } else {
      rte_pause();
    }
    if (rte_rdtsc() - began > patience_) return missing(slot);
  }
  return 0;
}

// What helpers have written lies in their caches: verdicts, and of the texts the headers, which the stages behind read.
void Spread::prefetch_helped(unsigned slot) const noexcept {
  const SharedBurst& burst = shared_.at(slot);
  const auto prefetch = [](const auto& job) {
    rte_prefetch0(&job);
    rte_prefetch0(job.text.data());
    rte_prefetch0(job.text.data() + sizeof(Ipv6Header));
  };
  for (Chunks helped = shared_.done_by_helpers(slot); helped != 0; helped &= helped - 1) {
    const auto chunk = static_cast<unsigned>(std::countr_zero(helped));
    const unsigned first = burst.first_of(chunk), end = first + burst.size_of(chunk);
    for (unsigned i = first; i < end; ++i)
      burst.cipher == Cipher::kSeal ? prefetch(burst.seal[i]) : prefetch(burst.open[i]);
  }
}

void Spread::count_help(unsigned slot) noexcept {
  const SharedBurst& burst = shared_.at(slot);
  Chunks helped = shared_.done_by_helpers(slot);
  unhelped_ = helped != 0 ? 0 : unhelped_ + 1;
  uint64_t packets = 0;
  for (; helped != 0; helped &= helped - 1) {
    const auto chunk = static_cast<unsigned>(std::countr_zero(helped));
    packets += burst.size_of(chunk);
    helped_ += burst.ticks[chunk];
  }
  WorkerStats::bump(context_.stats->spread_packets_helped, packets);
}

// --- stalls ---

void Spread::give_up(unsigned slot, Chunks stalled) noexcept {
  const SharedBurst& burst = shared_.at(slot);
  slots_[slot].stalled = stalled;
  ++stalled_;
  WorkerStats::bump(context_.stats->spread_stalls, static_cast<unsigned>(std::popcount(stalled)));
  for (; stalled != 0; stalled &= stalled - 1)
    context_.drops->add(Drop::spread_stalled, burst.size_of(static_cast<unsigned>(std::countr_zero(stalled))));
}

bool Spread::reclaim() noexcept {
  if (stalled_ == 0) return true;
  for (unsigned i = 0; i < slots_.size(); ++i) {
    if (slots_[i].stalled != 0 && missing(i) == 0) free_stalled(slots_[i], shared_.at(i));
  }
  return stalled_ == 0;
}

void Spread::free_stalled(Slot& slot, const SharedBurst& burst) noexcept {
  for (; slot.stalled != 0; slot.stalled &= slot.stalled - 1) {
    const auto chunk = static_cast<unsigned>(std::countr_zero(slot.stalled));
    rte_pktmbuf_free_bulk(slot.packets.packets + burst.first_of(chunk), burst.size_of(chunk));
  }
  slot.used = false;
  --stalled_;
}

// --- saturation ---

void Spread::end_poll(Saturation::Poll poll) noexcept {
  poll.helped = std::exchange(helped_, 0);
  const bool before = saturated();
  const bool now = saturation_.note(poll);
  if (now == before) return;
  board_.set_saturated(context_.id, now);
  if (!now) return;
  // Those that sleep hear of it once; they stay awake while they see the flag (the doorbell's fence puts the flag
  // first).
  unhelped_ = 0;
  for (Mailbox* mailbox : context_.mailboxes) {
    if (mailbox != context_.mailbox) mailbox->worker_bell.ring();
  }
}

}  // namespace sluice
