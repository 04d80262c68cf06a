// `spread`: one flow of one peer, offered as fast as a worker takes it, to a gateway with one worker and to one with
// two, each worker a thread on a core of its own. Cores of a virtual machine are seldom equally fast at a time (each
// shares its hardware with other machines' threads), so the one worker is measured on either core, and what two are
// held against is the mean of both cores' rates. Every packet that comes out is opened and compared, in order; what is
// missing was dropped because a helper lost its core in the middle of its work (spread_stalled). Beside it stands what
// the cipher takes of all workers together, waiting for helpers included: packets that cross to another core's caches
// and back are dearer than those that stay.
#include <rte_cycles.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

#include "tests/bench/bench.h"
#include "tests/bench/far_side.h"
#include "tests/bench/machine.h"
#include "tests/bench/path_runs.h"

namespace sluice::bench {
namespace {

using namespace std::chrono_literals;

constexpr size_t kPackets = 8192;
constexpr auto kPatience = 5s;

class Team {
 public:
  Team(const std::vector<unsigned>& cores, const Options& options)
      : gateway_({.cores = cores,
                  .engine = options.engine,
                  .buffers = 2 * kPackets - 1,
                  .port_frames = kPackets,
                  .stages = true}),
        peer_(gateway_.add_site_peer()),
        far_side_((gateway_.settle(), gateway_)) {}

  // Adds the time of the stream, and the cipher's part of it, nanoseconds a packet.
  void run(Direction direction, size_t size, Samples& times, Samples& cipher) {
    Session session = gateway_.open_session(peer_);
    const std::vector<Conversation> burst(kPackets, {&session, lan_host(0), site_host(0), size});
    if (const auto started = gateway_.dataplane().start(); !started) throw std::runtime_error(started.error().what);
    const uint64_t stalled_before = stalled(), cipher_before = cipher_ticks();
    far_side_.prepare(direction, burst);
    wait_until_transmitted(kPackets + stalled_before);
    gateway_.dataplane().stop();
    cipher.add(static_cast<double>(cipher_ticks() - cipher_before) * ns_per_tick() / kPackets);
    const uint64_t lost = stalled() - stalled_before;
    far_side_.verify(direction, burst, lost);
    lost_ += lost;
    MemoryPort& out = direction == Direction::kOutbound ? gateway_.wan() : gateway_.lan();
    for (uint16_t queue = 0; queue < out.transmit_queues(); ++queue) add_run(out.stamps(queue), times);
    far_side_.free_transmitted();
    gateway_.settle();
  }
  double lost() const { return static_cast<double>(lost_); }
  std::string engine() { return std::string(gateway_.dataplane().engine_name()); }

 private:
  uint64_t stalled() { return gateway_.dataplane().drops(Drop::spread_stalled); }
  uint64_t cipher_ticks() {
    uint64_t ticks = 0;
    for (const auto& worker : gateway_.dataplane().workers())
      for (const Stage stage : {Stage::seal_burst, Stage::open_burst, Stage::help})
        ticks += worker->stats().stages[static_cast<size_t>(stage)].cycles;
    return ticks;
  }
  static double ns_per_tick() { return 1e9 / static_cast<double>(rte_get_tsc_hz()); }
  // Or dropped as stalled.
  void wait_until_transmitted(size_t packets) {
    const auto deadline = SteadyClock::now() + kPatience;
    while (gateway_.wan().count_transmitted() + gateway_.lan().count_transmitted() + stalled() < packets) {
      if (SteadyClock::now() > deadline) break;  // verify() says what is missing
      std::this_thread::sleep_for(1ms);
    }
  }
  // A stream that goes on: without the first eighth, in which the worker notices that it has too much to do, and the
  // last one, in which nothing comes after. In one piece: what is under way when it begins has been worked on before,
  // and what is under way when it ends counts for nothing; of many short pieces the best would be better than a worker
  // is.
  static void add_run(std::span<const MemoryPort::Stamp> stamps, Samples& times) {
    if (stamps.size() < 16) return;
    const auto out_by = [&](size_t packets) {
      return *std::ranges::find_if(stamps, [&](const auto& stamp) { return stamp.packets >= packets; });
    };
    const size_t all = stamps.back().packets;
    const MemoryPort::Stamp first = out_by(all / 8), last = out_by(all - all / 8);
    times.add(static_cast<double>(last.tsc - first.tsc) * ns_per_tick() /
              static_cast<double>(last.packets - first.packets));
  }

  Gateway gateway_;
  PeerControl& peer_;
  FarSide far_side_;
  uint64_t lost_ = 0;
};

// Nanoseconds a packet at the mean of the rates of two workers that take so long each.
double at_mean_rate(double a, double b) { return 2 * a * b / (a + b); }

}  // namespace

Outcome measure_spread(const Options& options) {
  const auto& cores = Machine::worker_cores();
  if (cores.size() < 2) throw std::runtime_error("spread: needs two cores, there is one");
  Team first({cores[0]}, options), second({cores[1]}, options), two({cores[0], cores[1]}, options);
  Outcome outcome;
  outcome.about = {{"engine", two.engine()}};
  Table table{"one flow of one peer, order checked packet by packet, ns a packet",
              {"size", "direction", "on_first_core_ns", "on_second_core_ns", "one_worker_ns", "one_worker_median",
               "two_workers_ns", "two_workers_median", "speedup", "median_speedup", "one_workers_cipher",
               "two_workers_cipher", "stalled_packets"},
              {}};
  for (const size_t size : {size_t{64}, size_t{1420}}) {
    for (const Direction direction : {Direction::kOutbound, Direction::kInbound}) {
      Samples on_first, on_second, together, cipher_alone, cipher_together;
      const double lost_before = two.lost();
      for (int i = 0; i < (options.quick ? 1 : 15); ++i) {
        first.run(direction, size, on_first, cipher_alone);
        second.run(direction, size, on_second, cipher_alone);
        two.run(direction, size, together, cipher_together);
      }
      const double alone = at_mean_rate(on_first.min(), on_second.min());
      const double alone_median = at_mean_rate(on_first.median(), on_second.median());
      const double speedup = alone / together.min();
      table.rows.push_back({std::to_string(size), name_of(direction), on_first.min(), on_second.min(), alone,
                            alone_median, together.min(), together.median(), speedup, alone_median / together.median(),
                            cipher_alone.median(), cipher_together.median(), two.lost() - lost_before});
      if (size == 1420)
        outcome.goals.push_back(
            {std::string("spread, two workers / one, 1420 B, ") + name_of(direction), speedup, Bound::kAtLeast, 1.8});
    }
  }
  outcome.tables.push_back(std::move(table));
  return outcome;
}

}  // namespace sluice::bench
