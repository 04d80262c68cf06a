// `sluice-bench`: what sluice costs on this machine.
#include <rte_eal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "tests/bench/bench.h"
#include "tests/bench/machine.h"

namespace {

using namespace sluice;
using namespace sluice::bench;

struct Command {
  const char* name;
  const char* help;
  Outcome (*measure)(const Options&);
};

constexpr std::array kCommands = {
    Command{"cipher", "every cipher engine on bursts of packets of different keys", measure_cipher},
    Command{"path", "a worker from receive to transmit, beside the cipher alone", measure_path},
    Command{"peers", "100,000 active peers in random order beside one", measure_peers},
    Command{"spread", "one flow of one peer on two workers beside one", measure_spread},
    Command{"handshake", "handshakes answered beside the library's X25519", measure_handshake},
    Command{"memory", "bytes of a peer and a session, loading 100,000 peers, changing one", measure_memory},
    Command{"flood", "goodput while worthless packets hit the same port", measure_flood},
};

// All that the project promises, measured one after the other.
Outcome measure_targets(const Options& options) {
  Outcome all;
  for (const Command& command : kCommands) {
    try {
      const Outcome outcome = command.measure(options);
      if (all.about.empty()) all.about = {outcome.about.front()};
      all.goals.insert(all.goals.end(), outcome.goals.begin(), outcome.goals.end());
    } catch (const std::exception& error) {  // a promise that cannot be shown here is not kept here
      all.goals.push_back({error.what(), 0, Bound::kAtLeast, 1});
    }
  }
  return all;
}

constexpr Command kTargets{"targets", "every figure the project promises; status 1 if one falls short",
                           measure_targets};

int run(const Command& command, const Options& options, const std::string& json) {
  const Machine machine;
  Outcome outcome = command.measure(options);
  outcome.about.emplace_back("packet buffers", rte_eal_has_hugepages() != 0
                                                   ? "in huge pages"
                                                   : "in small pages; vm.nr_hugepages=512 makes figures better");
  print(outcome);
  if (!json.empty()) write_json(json, command.name, outcome);
  const bool gates = &command == &kTargets;
  return gates && !std::ranges::all_of(outcome.goals, &Goal::met) ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Measures sluice on this machine.", "sluice-bench");
  app.require_subcommand(1);
  Options options;
  std::string json;
  const Command* chosen = nullptr;
  std::vector<const Command*> commands{&kTargets};
  for (const Command& command : kCommands) commands.push_back(&command);
  for (const Command* command : commands) {
    CLI::App* sub = app.add_subcommand(command->name, command->help);
    sub->add_option("--json", json, "write the figures to this file, too")->type_name("FILE");
    sub->add_flag("--quick", options.quick, "a few runs only: figures mean little");
    sub->add_option("--engine", options.engine, "cipher engine of the gateway; the fastest if not given");
    sub->add_flag("--stages", options.stages, "path, peers: cycles by stage");
    sub->add_flag("--offloads", options.offloads, "path: the ports do checksums, as most NICs can");
    sub->callback([&chosen, command] { chosen = command; });
  }
  CLI11_PARSE(app, argc, argv);
  try {
    return run(*chosen, options, json);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sluice-bench: %s\n", error.what());
    return 1;
  }
}
