#include "tests/bench/memory_port.h"

#include <rte_mbuf.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace sluice::bench {

MemoryPort::MemoryPort(PortId id, std::string name, const Settings& settings)
    : Port(id, std::move(name)), settings_(settings) {
  in_.reserve(settings.frames);
  out_.reserve(settings.frames);
}

MemoryPort::~MemoryPort() {
  for (size_t i = next_; i < in_.size(); ++i) rte_pktmbuf_free(in_[i]);
  free_transmitted();
}

void MemoryPort::prepare(std::span<rte_mbuf* const> frames) {
  if (waiting() == 0) {
    in_.clear();
    next_ = 0;
  }
  if (in_.size() + frames.size() > settings_.frames) throw std::logic_error("port " + name() + " has too little room");
  in_.insert(in_.end(), frames.begin(), frames.end());
}

void MemoryPort::free_transmitted() {
  rte_pktmbuf_free_bulk(out_.data(), static_cast<unsigned>(out_.size()));
  out_.clear();
}

uint16_t MemoryPort::receive(uint16_t, rte_mbuf** packets, uint16_t n) noexcept {
  const size_t taken = std::min<size_t>(n, waiting());
  std::copy_n(in_.begin() + static_cast<ptrdiff_t>(next_), taken, packets);
  next_ += taken;
  return static_cast<uint16_t>(taken);
}

uint16_t MemoryPort::transmit(uint16_t, rte_mbuf** packets, uint16_t n) noexcept {
  const size_t taken = std::min<size_t>(n, settings_.frames - out_.size());
  out_.insert(out_.end(), packets, packets + taken);
  return static_cast<uint16_t>(taken);
}

}  // namespace sluice::bench
