// `flood`: authentic packets of one peer among three times as many that are worth nothing: garbage handshakes, bad tags
// and unknown indices, on the same port. What the flood costs a worker by itself (receiving it, and for a bad tag
// computing the right one) is nobody's fault; that the good packets get what is left of its time is the point. All of
// them must come through.
#include <rte_mbuf.h>

#include <algorithm>
#include <string>
#include <vector>

#include "dataplane/pipeline/packet.h"
#include "dataplane/wire/ip.h"
#include "tests/bench/bench.h"
#include "tests/bench/frames.h"
#include "tests/bench/path_runs.h"
#include "tests/support/seeded_rng.h"

namespace sluice::bench {
namespace {

constexpr size_t kGood = 16, kFlood = 48;  // packets of a burst
constexpr size_t kHeaders = sizeof(EthernetHeader) + sizeof(Ipv4Header) + sizeof(UdpHeader);

class Flood {
 public:
  Flood(Gateway& gateway, const Session& victim) : gateway_(gateway), victim_(victim) {}

  std::vector<rte_mbuf*> frames(size_t count, size_t size) {
    std::vector<rte_mbuf*> all = buffers_of(gateway_.dataplane().pool(), count);
    for (size_t i = 0; i < count; ++i) {
      const bool handshake = i % 3 == 0;
      write(all[i], handshake ? sizeof(InitiationMessage) : kDataOverhead + size,
            handshake ? MessageType::kInitiation : MessageType::kData, i % 3 == 1 ? victim_.index : rng_.next_u32());
    }
    return all;
  }

 private:
  // Random bytes behind a plausible beginning, from a random address.
  void write(rte_mbuf* frame, size_t size, MessageType type, uint32_t index) {
    auto* at = reinterpret_cast<std::byte*>(rte_pktmbuf_append(frame, static_cast<uint16_t>(kHeaders + size)));
    write_ethernet(at, kWanMac, kRouterMac);
    rng_.fill({at + kHeaders, size});
    auto& header = *reinterpret_cast<DataHeader*>(at + kHeaders);
    header.type = static_cast<uint32_t>(type);
    header.receiver_index = index;
    header.counter = victim_.counter + rng_.below(1000);
    write_datagram(bytes_of(frame).subspan(sizeof(EthernetHeader)), {ipv4(0x64400000 + rng_.below(1u << 20)), 51820},
                   {wan_address(), kListenPort});
  }

  Gateway& gateway_;
  const Session& victim_;
  test::SeededRng rng_;
};

struct Times {
  Samples good, flood, both;  // nanoseconds a burst
};

// One burst each: good packets alone, the flood alone, both mixed.
class FloodRuns {
 public:
  FloodRuns(Gateway& gateway, PeerControl& peer, size_t size)
      : gateway_(gateway),
        session_(gateway.open_session(peer)),
        far_side_(gateway),
        flood_(gateway, session_),
        good_(conversations({"", std::vector<size_t>(kGood, size)}, session_)),
        size_(size) {}

  void run() {
    const auto full = conversations(of_size(size_), session_);
    times_.good.add(poll(far_side_.make_frames(Direction::kInbound, full), full) * kGood / kBurstPackets);
    times_.flood.add(poll(flood_.frames(kBurstPackets, size_), {}) * kFlood / kBurstPackets);
    std::vector<rte_mbuf*> mixed = flood_.frames(kFlood, size_);
    const std::vector<rte_mbuf*> good = far_side_.make_frames(Direction::kInbound, good_);
    for (size_t i = 0; i < kGood; ++i) mixed.insert(mixed.begin() + static_cast<ptrdiff_t>(4 * i), good[i]);
    times_.both.add(poll(mixed, good_));
  }
  void forget() { times_ = {}; }
  const Times& times() const { return times_; }

 private:
  double poll(const std::vector<rte_mbuf*>& frames, std::span<const Conversation> good) {
    gateway_.wan().prepare(frames);
    const double time = time_ns([&] { gateway_.worker().poll_once(); });
    far_side_.verify(Direction::kInbound, good);
    far_side_.free_transmitted();
    gateway_.control_turn();
    gateway_.wan().free_transmitted();
    return time;
  }

  Gateway& gateway_;
  Session session_;
  FarSide far_side_;
  Flood flood_;
  std::vector<Conversation> good_;
  size_t size_;
  Times times_;
};

}  // namespace

Outcome measure_flood(const Options& options) {
  Gateway gateway({.engine = options.engine});
  PeerControl& peer = gateway.add_site_peer();
  gateway.settle();
  Outcome outcome;
  outcome.about = {{"engine", std::string(gateway.dataplane().engine_name())}};
  Table table{"a worker under a flood of three bad packets to a good one, ns for each",
              {"size", "good_alone_ns", "flood_alone_ns", "good_share_ns", "good_per_s", "left_of_goodput"},
              {}};
  for (const size_t size : {size_t{64}, size_t{512}, size_t{1420}}) {
    FloodRuns runs(gateway, peer, size);
    for (int i = 0; i < 5; ++i) runs.run();
    runs.forget();
    for (int i = 0; i < (options.quick ? 20 : 3000); ++i) runs.run();
    // With the time that the flood does not take by itself, the good packets would need this long; they need that long.
    const double good = runs.times().good.min(), flood = runs.times().flood.min(), both = runs.times().both.min();
    const double left = (good + flood) / both;
    table.rows.push_back(
        {std::to_string(size), good / kGood, flood / kFlood, (both - flood) / kGood, kGood * 1e9 / both, left});
    outcome.goals.push_back(
        {"flood, goodput / what is left, " + std::to_string(size) + " B", left, Bound::kAtLeast, 0.9});
  }
  outcome.tables.push_back(std::move(table));
  return outcome;
}

}  // namespace sluice::bench
