// For tests that need DPDK: its environment, started once per test program (without huge pages, without privileges),
// and ports whose wire the test holds in its hand. Link eal_fixture_dep instead of gtest_dep: it has its own main().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dataplane/base/handle.h"
#include "dataplane/port/ethdev.h"
#include "dataplane/port/port.h"

struct rte_ring;
extern "C" void rte_ring_free(rte_ring*);

namespace sluice::test {

// Cores that the environment was started with workers on: every core but the lowest, at most two; the only core if
// there is but one. lcore n + 1 is worker_cores()[n].
const std::vector<unsigned>& worker_cores();

// A port over two software rings per queue (DPDK's net_ring), and the far end of its wire. Frames are copied between
// the port's packet pool and plain memory, so nothing but bytes crosses. `name` is unique in the test program while
// the wire lives; the port goes before the wire and the pool.
class RingWire {
 public:
  RingWire(const std::string& name, uint16_t queues, rte_mempool* pool);
  ~RingWire();
  RingWire(const RingWire&) = delete;
  RingWire& operator=(const RingWire&) = delete;

  // Once. options.device is set here.
  std::unique_ptr<Port> make_port(PortId id, EthdevOptions options);

  // To the port: what its queue receives next. False: ring full or no buffer.
  bool send(std::span<const std::byte> frame, uint16_t queue = 0);
  // From the port: the oldest frame it transmitted.
  std::optional<std::vector<std::byte>> receive(uint16_t queue = 0);

 private:
  using Ring = Handle<rte_ring, rte_ring_free>;
  std::string name_;
  rte_mempool* pool_;
  std::vector<Ring> to_port_, from_port_;
};

// A pool as the daemon makes it, small. Unique name per call.
PacketPool small_pool(uint32_t buffers = 4095, uint16_t private_size = 64, uint16_t mtu = 1500);

}  // namespace sluice::test
