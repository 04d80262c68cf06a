#include "control/ctl/commands.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <ostream>

#include "config/render.h"
#include "control/api/protocol.h"
#include "control/ctl/bench.h"
#include "control/ctl/client.h"
#include "control/ctl/format.h"
#include "control/ctl/keygen.h"

namespace sluice::ctl {
namespace {

constexpr int kOk = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;

// What the command line sets.
struct Options {
  std::string socket;
  std::string gateway;
  bool json = false;
  std::string tunnel;        // show
  std::string peer;          // show
  bool all_reasons = false;  // drops
  std::string file;          // check
  bool print = false;        // check
};

int finish(World& world, const Result<std::string>& text) {
  if (text) {
    world.out << *text;
    return kOk;
  }
  world.err << "sluice: " << text.error().what << "\n";
  return kFailed;
}

// --- keys ------------------------------------------------------------------------------------------------------------

int print_secret(World& world, const std::string& key) {
  if (world.output_open_to_others)
    world.err << "warning: others can read the file that this key goes to; set `umask 077` first\n";
  world.out << key << "\n";
  return kOk;
}

int print_public_key(World& world) {
  std::string text;
  std::getline(world.in, text, '\0');
  auto key = public_key_of(text);
  if (key) *key += "\n";
  return finish(world, key);
}

// --- check -----------------------------------------------------------------------------------------------------------

std::string counted(size_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string summary(const config::Model& model) {
  size_t peers = 0;
  for (const config::Tunnel& tunnel : model.tunnels) peers += tunnel.peers.size();
  return fmt::format("gateway {}: {} on CPU {}, {}, {}, {}, {}\n", model.gateway.name,
                     counted(model.gateway.workers.size(), "worker"), fmt::join(model.gateway.workers, ","),
                     counted(model.ports.size(), "port"), counted(model.routes.size(), "route"),
                     counted(model.tunnels.size(), "tunnel"), counted(peers, "peer"));
}

int check(const Options& options, World& world) {
  const config::Loaded loaded = config::load(options.file, world.machine);
  for (const config::Diagnostic& error : loaded.errors) world.err << to_string(error) << "\n";
  for (const config::Diagnostic& warning : loaded.warnings) world.err << "warning: " << to_string(warning) << "\n";
  if (!loaded.model) return kFailed;
  if (options.print)
    world.out << config::render(*loaded.model);
  else
    world.out << options.file << ": ok\n" << summary(*loaded.model);
  return kOk;
}

// --- what a running gateway answers
// ------------------------------------------------------------------------------------

using Format = std::function<Result<std::string>(std::string_view reply)>;

Result<std::string> ask(const Options& options, const World& world, const nlohmann::json& request,
                        const Format& format) {
  const Result<std::string> socket =
      options.socket.empty() ? find_socket(world.run_directory, options.gateway, options.tunnel) : options.socket;
  if (!socket) return socket.error();
  // Arguments come from the command line and need not be UTF-8: what is not is replaced, and found nowhere.
  auto reply = query_gateway(*socket, request.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  if (!reply) return reply;
  if (const auto ok = check_reply(*reply); !ok) return ok.error();
  return options.json ? format_json(*reply) : format(*reply);
}

int show(const Options& options, World& world) {
  nlohmann::json request{{"op", api::kOpShow}};
  if (!options.tunnel.empty()) request["tunnel"] = options.tunnel;
  if (!options.peer.empty()) request["peer"] = options.peer;
  const auto format = options.peer.empty() ? format_show : format_show_peer;
  return finish(world, ask(options, world, request, [&](std::string_view reply) { return format(reply, world.now); }));
}

int drops(const Options& options, World& world) {
  nlohmann::json request{{"op", api::kOpDrops}};
  if (options.all_reasons) request["all"] = true;
  return finish(world, ask(options, world, request, format_drops));
}

// --- command line
// ------------------------------------------------------------------------------------------------------

void add_gateway_options(CLI::App& command, Options& options) {
  CLI::Option* socket = command.add_option("--socket", options.socket, "socket of the gateway")->type_name("PATH");
  command
      .add_option("--name", options.gateway,
                  "name of the gateway, or interface of drop-in mode; needed where several run")
      ->type_name("GATEWAY")
      ->excludes(socket);
  command.add_flag("--json", options.json, "for scripts");
}

// Bare `sluice` is `sluice show`.
void add_show_options(CLI::App& command, Options& options) {
  add_gateway_options(command, options);
  command.add_option("--peer", options.peer, "one peer with all there is to know")->type_name("KEY|NAME");
}

using Action = std::function<int()>;

void add_gateway_commands(CLI::App& app, Options& options, World& world, Action& action) {
  CLI::App* command = app.add_subcommand("show", "gateway, ports, tunnels and peers; the same as no command");
  add_show_options(*command, options);
  command->add_option("tunnel", options.tunnel, "only this tunnel")->type_name("TUNNEL");
  command->callback([&] { action = [&] { return show(options, world); }; });

  command = app.add_subcommand("stats", "packets per call and cycles per packet of every stage");
  add_gateway_options(*command, options);
  command->callback([&] {
    action = [&] { return finish(world, ask(options, world, {{"op", api::kOpStats}}, format_stats)); };
  });

  command = app.add_subcommand("drops", "dropped packets by reason");
  add_gateway_options(*command, options);
  command->add_flag("--all", options.all_reasons, "reasons that never occurred, too");
  command->callback([&] { action = [&] { return drops(options, world); }; });

  command = app.add_subcommand("reload", "read the configuration again and apply what changed");
  add_gateway_options(*command, options);
  command->callback([&] {
    action = [&] { return finish(world, ask(options, world, {{"op", api::kOpReload}}, format_reload)); };
  });
}

void add_offline_commands(CLI::App& app, Options& options, World& world, Action& action) {
  CLI::App* command = app.add_subcommand("check", "say everything that is wrong with a configuration");
  command->add_option("file", options.file, "the configuration")->type_name("FILE")->required();
  command->add_flag("--print", options.print, "print it with all defaults filled in and secrets hidden");
  command->callback([&] { action = [&] { return check(options, world); }; });

  command = app.add_subcommand("genkey", "print a new private key");
  command->callback([&] { action = [&] { return print_secret(world, generate_private_key(world.rng)); }; });
  command = app.add_subcommand("genpsk", "print a new preshared key");
  command->callback([&] { action = [&] { return print_secret(world, generate_preshared_key(world.rng)); }; });
  command = app.add_subcommand("pubkey", "print the public key of the private key on standard input");
  command->callback([&] { action = [&] { return print_public_key(world); }; });

  command = app.add_subcommand("bench", "measure sluice on this machine (sluice-bench); see `sluice bench --help`");
  command->set_help_flag();  // all that follows is for the other program
  command->prefix_command();
  command->callback([&, command] {
    action = [&, command] { return finish(world, become_bench(world.program_directory, command->remaining())); };
  });
}

// The parser's words on one line.
std::string one_line(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  std::ranges::replace(text, '\n', ' ');
  return text;
}

}  // namespace

int run(std::vector<std::string> arguments, World& world) {
  Options options;
  Action action = [&] { return show(options, world); };
  CLI::App app("What a sluice gateway does, and the keys and configuration it needs.", "sluice");
  app.set_version_flag("--version", "sluice " SLUICE_VERSION);
  app.require_subcommand(0, 1);
  add_show_options(app, options);
  add_gateway_commands(app, options, world, action);
  add_offline_commands(app, options, world, action);
  try {
    std::ranges::reverse(arguments);  // as CLI11 wants them
    app.parse(std::move(arguments));
  } catch (const CLI::Success& wanted) {  // --help, --version
    app.exit(wanted, world.out, world.err);
    return kOk;
  } catch (const CLI::ParseError& error) {
    world.err << "sluice: " << one_line(error.what()) << "; see `sluice --help`\n";
    return kUsage;
  }
  return action();
}

}  // namespace sluice::ctl
