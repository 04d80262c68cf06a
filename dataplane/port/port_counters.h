// A port's own count of its packets, for ports without hardware that counts: written by one worker, read by control.
#pragma once

#include <atomic>
#include <cstdint>

#include "dataplane/port/port.h"

namespace sluice {

struct alignas(64) LivePortCounters {
  std::atomic<uint64_t> rx_packets{0}, rx_bytes{0}, rx_missed{0}, rx_errors{0};
  std::atomic<uint64_t> tx_packets{0}, tx_bytes{0}, tx_errors{0};

  static void add(std::atomic<uint64_t>& counter, uint64_t n) noexcept {  // its one writer
    counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  PortCounters read() const noexcept {
    return {rx_packets.load(std::memory_order_relaxed), rx_bytes.load(std::memory_order_relaxed),
            rx_missed.load(std::memory_order_relaxed),  rx_errors.load(std::memory_order_relaxed),
            tx_packets.load(std::memory_order_relaxed), tx_bytes.load(std::memory_order_relaxed),
            tx_errors.load(std::memory_order_relaxed)};
  }
};

}  // namespace sluice
