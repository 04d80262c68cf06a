// `wire-generator`: the NICs, the hosts and the tunnel's far end around a sluiced on virtio_user ports, whose other
// sides are this program's vhost ports. tests/bench/wire starts both.
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <string>

#include "dataplane/crypto/primitives.h"
#include "dataplane/crypto/select.h"
#include "dataplane/port/eal.h"
#include "dataplane/port/ethdev.h"
#include "tests/bench/generator/search.h"
#include "tests/bench/report.h"

namespace sluice::bench {
namespace {

struct Options {
  std::string wan, lan, key_file, gateway_key, json;
  std::string course, size;  // empty: all
  unsigned core = 1;
  double path_ns = 0;
  bool quick = false;
};

struct Course {
  const char* name;
  std::vector<Direction> directions;
};

const std::vector<Course>& courses() {
  static const std::vector<Course> all{{"encapsulate", {Direction::kOutbound}},
                                       {"decapsulate", {Direction::kInbound}},
                                       {"both", {Direction::kOutbound, Direction::kInbound}},
                                       {"forward", {Direction::kPast}}};
  return all;
}

template <class T>
T or_throw(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().what);
  return std::move(*result);
}

PrivateKey read_key(const std::string& path) {
  std::string text;
  PrivateKey key;
  if (!(std::ifstream(path) >> text) || !key_from_base64(text, key.bytes()))
    throw std::runtime_error(path + ": not a private key");
  return key;
}

SearchSettings settings_for(const Options& options) {
  if (options.quick) return {.packets = 512, .attempts = 1, .precision = 0.5};
  return {.packets = 16384, .attempts = 5, .precision = 0.05};
}

// What can be said of the gateway once it runs; on standard input: the name of its engine, and its worker's thread or
// 0.
struct GatewayFacts {
  std::string engine;
  pid_t worker;
};
GatewayFacts wait_for_gateway() {
  GatewayFacts facts;
  if (!(std::cin >> facts.engine >> facts.worker)) throw std::runtime_error("nobody said that the gateway runs");
  return facts;
}

// Prepared packets and arrived ones of two directions, and what stands in rings.
uint32_t buffers_for(const SearchSettings& settings) { return static_cast<uint32_t>(6 * settings.packets + 16384); }

double mean_size(const Traffic& traffic) {
  double sum = 0;
  for (const size_t size : traffic.sizes) sum += static_cast<double>(size);
  return sum / static_cast<double>(traffic.sizes.size());
}

class Measurement {
 public:
  explicit Measurement(const Options& options)
      : options_(options),
        settings_(settings_for(options)),
        pool_(or_throw(make_packet_pool("wire", buffers_for(settings_), 0, 1500))),
        wan_(or_throw(make_ethdev_port(PortId{0}, {.name = "wan", .device = "vhost:" + options.wan}, pool_.get()))),
        lan_(or_throw(make_ethdev_port(PortId{1}, {.name = "lan", .device = "vhost:" + options.lan}, pool_.get()))),
        engine_(make_engine()),
        initiator_(read_key(options.key_file), public_key_from_base64(options.gateway_key).value(), rng_),
        end_(*wan_, pool_.get(), initiator_) {}

  Outcome run(const GatewayFacts& gateway) {
    settings_.worker = gateway.worker;
    Outcome outcome;
    outcome.about = {{"engine", gateway.engine}};
    outcome.tables = {{"Throughput without loss, all directions together",
                       {"course", "size", "packets_s", "gbit_s", "ns", "saturated_packets_s", "saturated_ns"},
                       {}},
                      {"Latency, us", {"course", "size", "load", "p50_us", "p99_us", "p99.9_us", "away_percent"}, {}}};
    for (const Course& course : courses())
      for (const Traffic& traffic : all_traffic())
        if ((options_.course.empty() || course.name == options_.course) &&
            (options_.size.empty() || traffic.name == options_.size))
          measure_one(course, traffic, outcome);
    return outcome;
  }

 private:
  void measure_one(const Course& course, const Traffic& traffic, Outcome& outcome) {
    std::vector<Stream> streams;
    std::vector<Lane> lanes;
    streams.reserve(course.directions.size());
    for (const Direction direction : course.directions) {
      Stream& stream = streams.emplace_back(direction, traffic, end_, *engine_, pool_.get());
      const bool outbound = direction != Direction::kInbound;
      lanes.push_back({stream, outbound ? *lan_ : *wan_, outbound ? *wan_ : *lan_});
    }
    const Found found = measure(lanes, end_, settings_);
    const double all = found.offered_per_s * static_cast<double>(lanes.size());
    const auto ns = [](double rate) { return rate > 0 ? 1e9 / rate : 0; };
    outcome.tables[0].rows.push_back({course.name, traffic.name, all, all * mean_size(traffic) * 8 / 1e9, ns(all),
                                      found.saturated_per_s, ns(found.saturated_per_s)});
    for (const auto& [load, sorted, away] : found.latencies) {
      outcome.tables[1].rows.push_back({course.name, traffic.name, std::to_string(load) + " %", percentile(sorted, 50),
                                        percentile(sorted, 99), percentile(sorted, 99.9), 100 * away});
      if (load == 50 && course.directions.size() == 1 && course.directions[0] != Direction::kPast &&
          traffic.name == "1420")
        outcome.goals.push_back(
            {std::string(course.name) + " 1420, p99 at 50 % load, us", percentile(sorted, 99), Bound::kAtMost, 50});
    }
    if (options_.path_ns > 0 && course.directions == std::vector{Direction::kOutbound} && traffic.name == "1420")
      outcome.goals.push_back(
          {"encapsulate 1420, throughput / what path promises", all * options_.path_ns / 1e9, Bound::kAtLeast, 0.85});
    std::fprintf(stderr, "%s %s: %.2f Mpps\n", course.name, traffic.name.c_str(), all / 1e6);
  }

  const Options& options_;
  SearchSettings settings_;
  PacketPool pool_;
  std::unique_ptr<Port> wan_, lan_;
  std::unique_ptr<AeadEngine> engine_;
  SystemRng rng_;
  Initiator initiator_;
  TunnelEnd end_;
};

int run(const Options& options) {
  if (!crypto_init()) throw std::runtime_error("no usable randomness");
  const size_t pool = packet_pool_size(buffers_for(settings_for(options)), 0, 1500);
  const auto memory_mib = static_cast<unsigned>(pool / (1024 * 1024) * 3 / 2 + 256);
  const Result<void> started =
      start_eal({.worker_cores = {options.core}, .memory_mib = memory_mib, .drivers = {"net_vhost"}});
  if (!started) throw std::runtime_error(started.error().what);
  cpu_set_t core;
  CPU_ZERO(&core);
  CPU_SET(options.core, &core);
  sched_setaffinity(0, sizeof core, &core);
  Outcome outcome;
  {
    Measurement measurement(options);
    outcome = measurement.run(wait_for_gateway());
  }
  stop_eal();
  print(outcome);
  if (!options.json.empty()) write_json(options.json, "wire", outcome);
  return 0;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  CLI::App app("Plays the NICs of a sluiced under test; started by tests/bench/wire.", "wire-generator");
  sluice::bench::Options options;
  app.add_option("--wan", options.wan, "socket of the gateway's port wan; made here")->required();
  app.add_option("--lan", options.lan, "socket of the gateway's port lan; made here")->required();
  app.add_option("--private-key", options.key_file, "file with the far end's private key")->required();
  app.add_option("--gateway-key", options.gateway_key, "the gateway's public key")->required();
  app.add_option("--core", options.core, "to run on");
  app.add_option("--path-ns", options.path_ns, "what sluice-bench path says of 1420 bytes, to compare with");
  app.add_option("--json", options.json, "write the figures to this file, too");
  app.add_option("--course", options.course, "encapsulate, decapsulate, both or forward; all if not given");
  app.add_option("--size", options.size, "64, 128, 256, 512, 1024, 1420 or imix; all if not given");
  app.add_flag("--quick", options.quick, "short trials: figures mean little");
  CLI11_PARSE(app, argc, argv);
  try {
    return sluice::bench::run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "wire-generator: %s\n", error.what());
    return 1;
  }
}
