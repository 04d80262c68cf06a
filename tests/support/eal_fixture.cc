#include "tests/support/eal_fixture.h"

#include <gtest/gtest.h>
#include <rte_eth_ring.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>
#include <sched.h>

#include <cstring>

#include "dataplane/port/eal.h"

namespace sluice::test {
namespace {

std::vector<unsigned> choose_worker_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  std::vector<unsigned> cores;
  for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cores.push_back(cpu);
  }
  if (cores.size() > 1) cores.erase(cores.begin());
  if (cores.size() > 2) cores.resize(2);
  return cores;
}

class Environment : public ::testing::Environment {
 public:
  void SetUp() override {
    const Result<void> started =
        start_eal({.worker_cores = worker_cores(), .hugepages = EalOptions::Hugepages::kNever, .memory_mib = 256});
    if (!started) FAIL() << started.error().what;
  }
  void TearDown() override { stop_eal(); }
};

}  // namespace

const std::vector<unsigned>& worker_cores() {
  static const std::vector<unsigned> cores = choose_worker_cores();
  return cores;
}

RingWire::RingWire(const std::string& name, uint16_t queues, rte_mempool* pool) : name_(name), pool_(pool) {
  constexpr unsigned kSlots = 1024;
  const auto make = [&](const char* direction, uint16_t queue) {
    const std::string ring = name + direction + std::to_string(queue);
    return Ring(rte_ring_create(ring.c_str(), kSlots, SOCKET_ID_ANY, RING_F_EXACT_SZ));
  };
  for (uint16_t q = 0; q < queues; ++q) {
    to_port_.push_back(make("-in", q));
    from_port_.push_back(make("-out", q));
  }
}

RingWire::~RingWire() {
  for (uint16_t q = 0; q < to_port_.size(); ++q) {
    void* packet;
    while (rte_ring_dequeue(to_port_[q].get(), &packet) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(packet));
    while (rte_ring_dequeue(from_port_[q].get(), &packet) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(packet));
  }
}

std::unique_ptr<Port> RingWire::make_port(PortId id, EthdevOptions options) {
  std::vector<rte_ring*> in, out;
  for (const Ring& ring : to_port_) in.push_back(ring.get());
  for (const Ring& ring : from_port_) out.push_back(ring.get());
  const int dpdk_port = rte_eth_from_rings(name_.c_str(), in.data(), static_cast<unsigned>(in.size()), out.data(),
                                           static_cast<unsigned>(out.size()), 0);
  if (dpdk_port < 0) return nullptr;
  options.device = "ring:" + name_;
  Result<std::unique_ptr<Port>> port = adopt_ethdev_port(id, options, static_cast<uint16_t>(dpdk_port), pool_);
  if (!port) {
    ADD_FAILURE() << port.error().what;
    return nullptr;
  }
  return std::move(*port);
}

bool RingWire::send(std::span<const std::byte> frame, uint16_t queue) {
  rte_mbuf* packet = rte_pktmbuf_alloc(pool_);
  if (packet == nullptr) return false;
  char* room = rte_pktmbuf_append(packet, static_cast<uint16_t>(frame.size()));
  if (room != nullptr) {
    std::memcpy(room, frame.data(), frame.size());
    if (rte_ring_enqueue(to_port_[queue].get(), packet) == 0) return true;
  }
  rte_pktmbuf_free(packet);
  return false;
}

std::optional<std::vector<std::byte>> RingWire::receive(uint16_t queue) {
  void* object;
  if (rte_ring_dequeue(from_port_[queue].get(), &object) != 0) return std::nullopt;
  auto* packet = static_cast<rte_mbuf*>(object);
  std::vector<std::byte> frame(rte_pktmbuf_pkt_len(packet));
  const void* bytes = rte_pktmbuf_read(packet, 0, rte_pktmbuf_pkt_len(packet), frame.data());
  if (bytes != frame.data()) std::memcpy(frame.data(), bytes, frame.size());
  rte_pktmbuf_free(packet);
  return frame;
}

PacketPool small_pool(uint32_t buffers, uint16_t private_size, uint16_t mtu) {
  static unsigned count = 0;
  Result<PacketPool> pool = make_packet_pool("test-" + std::to_string(count++), buffers, private_size, mtu);
  if (pool) return std::move(*pool);
  ADD_FAILURE() << pool.error().what;
  return nullptr;
}

}  // namespace sluice::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const bool only_lists = testing::GTEST_FLAG(list_tests);
  if (!only_lists) testing::AddGlobalTestEnvironment(new sluice::test::Environment);
  return RUN_ALL_TESTS();
}
