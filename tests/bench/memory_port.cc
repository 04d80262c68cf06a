#include "tests/bench/memory_port.h"

#include <rte_cycles.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace sluice::bench {

MemoryPort::MemoryPort(PortId id, std::string name, const Settings& settings)
    : Port(id, std::move(name)), settings_(settings), in_(settings.frames) {
  for (uint16_t queue = 0; queue < settings.workers; ++queue) {
    out_.push_back(std::make_unique<Out>());
    out_.back()->frames.resize(settings.frames);
    out_.back()->stamps.resize(settings.frames);
  }
}

MemoryPort::~MemoryPort() {
  for (size_t i = next_; i < ready_; ++i) rte_pktmbuf_free(in_[i % in_.size()]);
  free_transmitted();
}

void MemoryPort::prepare(std::span<rte_mbuf* const> frames) {
  const size_t ready = ready_.load(std::memory_order_relaxed);
  if (next_.load(std::memory_order_acquire) != ready) throw std::logic_error(name() + " has frames left");
  if (frames.size() > in_.size()) throw std::logic_error(name() + " has too little room");
  for (size_t i = 0; i < frames.size(); ++i) in_[(ready + i) % in_.size()] = frames[i];
  ready_.store(ready + frames.size(), std::memory_order_release);
}

uint16_t MemoryPort::receive(uint16_t, rte_mbuf** packets, uint16_t n) noexcept {
  const size_t next = next_.load(std::memory_order_relaxed);
  const size_t taken = std::min<size_t>(n, ready_.load(std::memory_order_acquire) - next);
  if (taken == 0) return 0;
  const size_t at = next % in_.size(), before_end = std::min(taken, in_.size() - at);
  std::copy_n(in_.begin() + static_cast<ptrdiff_t>(at), before_end, packets);
  std::copy_n(in_.begin(), taken - before_end, packets + before_end);
  next_.store(next + taken, std::memory_order_release);
  return static_cast<uint16_t>(taken);
}

uint16_t MemoryPort::transmit(uint16_t queue, rte_mbuf** packets, uint16_t n) noexcept {
  Out& out = *out_[queue];
  const size_t count = out.count.load(std::memory_order_relaxed);
  const size_t taken = std::min<size_t>(n, out.frames.size() - count);
  if (taken == 0) return 0;
  std::copy_n(packets, taken, out.frames.begin() + static_cast<ptrdiff_t>(count));
  const size_t bursts = out.bursts.load(std::memory_order_relaxed);
  out.stamps[bursts] = {rte_rdtsc(), count + taken};
  out.bursts.store(bursts + 1, std::memory_order_release);
  out.count.store(count + taken, std::memory_order_release);
  return static_cast<uint16_t>(taken);
}

size_t MemoryPort::count_transmitted() const noexcept {
  size_t count = 0;
  for (const auto& out : out_) count += out->count.load(std::memory_order_acquire);
  return count;
}

std::span<const MemoryPort::Stamp> MemoryPort::stamps(uint16_t queue) const noexcept {
  return std::span(out_[queue]->stamps).first(out_[queue]->bursts.load(std::memory_order_acquire));
}

std::vector<rte_mbuf*> MemoryPort::transmitted() const {
  std::vector<rte_mbuf*> frames;
  for (const auto& out : out_)
    frames.insert(frames.end(), out->frames.begin(),
                  out->frames.begin() + static_cast<ptrdiff_t>(out->count.load(std::memory_order_acquire)));
  return frames;
}

void MemoryPort::free_transmitted() {
  for (const auto& out : out_) {
    rte_pktmbuf_free_bulk(out->frames.data(), static_cast<unsigned>(out->count.load()));
    out->bursts.store(0, std::memory_order_release);
    out->count.store(0, std::memory_order_release);
  }
}

}  // namespace sluice::bench
