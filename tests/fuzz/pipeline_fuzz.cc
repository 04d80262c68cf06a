// Frames from nobody and messages from an authentic peer, through the whole pipeline. The input is a list of frames:
// how it comes (one byte), its length (two bytes), its bytes. Whatever they hold, no packet buffer is lost.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "dataplane/port/eal.h"
#include "tests/support/pipeline_bench.h"

namespace sluice::test {
namespace {

PipelineBench& bench() {
  static const bool started = [] {
    return start_eal({.worker_cores = {0}, .hugepages = EalOptions::Hugepages::kNever, .memory_mib = 64}).ok();
  }();
  if (!started) std::abort();
  static auto* one = new PipelineBench;  // never destroyed: DPDK's own statics may be gone by then
  return *one;
}

RemoteSession& session() {
  static RemoteSession& one = bench().add_session(bench().peer());
  return one;
}

void feed(uint8_t how, const Octets& bytes) {
  static uint64_t counter = 0;
  if (how % 8 == 7 && counter < kRejectAfterMessages / 2) counter += 100;
  switch (how % 4) {
    case 0:
      return bench().receive(bytes, kWan);
    case 1:
      return bench().receive_message(bytes);
    case 2:
      return bench().receive_message(session().seal(counter++, bytes));
    default:
      return bench().receive(PacketBuilder(bytes).ethernet(kLanMac, kHostMac), kLan);
  }
}

void drain() {
  PipelineBench& b = bench();
  b.transmitted(kWan);
  b.transmitted(kLan);
  b.punted();
  b.handshakes();
  b.events();
  b.staged().discard(b.peer().id);
  if (b.buffers_in_use() != 0) std::abort();
}

}  // namespace
}  // namespace sluice::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::test;
  constexpr size_t kLongest = 1600;
  auto input = std::as_bytes(std::span(data, size));
  for (int frames = 0; input.size() >= 3 && frames < 64; ++frames) {
    const auto how = static_cast<uint8_t>(input[0]);
    const size_t wanted = (static_cast<size_t>(input[1]) | static_cast<size_t>(input[2]) << 8) % kLongest;
    const auto bytes = input.subspan(3, std::min(wanted, input.size() - 3));
    feed(how, {bytes.begin(), bytes.end()});
    input = input.subspan(3 + bytes.size());
  }
  drain();
  return 0;
}
