#include "control/gateway/main.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

#include "config/load.h"
#include "control/gateway/daemon.h"
#include "control/gateway/drop_in.h"
#include "control/gateway/gateway.h"

namespace sluice {
namespace {

void complain(const std::string& line) { std::fprintf(stderr, "sluiced: %s\n", line.c_str()); }

// Keys live in this process: no core dump may hold them.
void forbid_core_dumps() {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0);
}

// A number in the environment; -1: not set, or none.
int number_from(const char* variable) {
  const char* text = std::getenv(variable);
  if (text == nullptr) return -1;
  int number = -1;
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), number);
  return error == std::errc{} && *end == 0 ? number : -1;
}

// For those that are started by others, as by wg-quick. 0: it does not say.
Result<unsigned> workers_from_environment() {
  if (std::getenv("SLUICE_WORKERS") == nullptr) return 0u;
  const int number = number_from("SLUICE_WORKERS");
  if (number >= 1 && number <= int{DropIn::kMaxWorkers}) return static_cast<unsigned>(number);
  return Error{"SLUICE_WORKERS: a number from 1 to " + std::to_string(DropIn::kMaxWorkers)};
}

// LOG_LEVEL as every userspace WireGuard reads it; anything else is the default.
spdlog::level::level_enum log_level(const char* text) {
  const std::string_view level = text == nullptr ? "" : text;
  if (level == "verbose" || level == "debug") return spdlog::level::debug;
  return level == "silent" ? spdlog::level::off : spdlog::level::err;
}

int run_gateway(const std::string& file, const Clock& clock) {
  config::Machine machine = config::this_machine();
  const config::Loaded loaded = config::load(file, machine);
  for (const config::Diagnostic& warning : loaded.warnings) spdlog::warn("{}", config::to_string(warning));
  for (const config::Diagnostic& error : loaded.errors) complain(config::to_string(error));
  if (!loaded.model) return 1;

  auto gateway = Gateway::start(loaded.model, std::move(machine), clock);
  if (!gateway) {
    complain(gateway.error().what);
    return 1;
  }
  (*gateway)->run();
  return 0;
}

int run_drop_in(const std::string& interface, unsigned workers, bool foreground, const Clock& clock) {
  const char* level = std::getenv("LOG_LEVEL");
  spdlog::set_level(log_level(level));
  if (workers == 0) {
    const auto wanted = workers_from_environment();
    if (!wanted) {
      complain(wanted.error().what);
      return 1;
    }
    workers = *wanted;
  }
  std::optional<Readiness> parent;
  if (!foreground) parent.emplace(daemonise(level != nullptr ? DaemonOutput::kKept : DaemonOutput::kNone));
  auto tunnel = DropIn::start({interface, number_from("WG_TUN_FD"), number_from("WG_UAPI_FD"), workers}, clock);
  if (!tunnel) {
    complain(tunnel.error().what);
    return 1;
  }
  if (parent) parent->ready();
  (*tunnel)->run();
  return 0;
}

}  // namespace

int sluiced_main(int argc, char** argv, const Clock& clock) {
  CLI::App app{"sluiced: WireGuard gateway that moves packets in user space"};
  std::string file, interface;
  bool foreground = false;
  unsigned workers = 0;
  auto* config = app.add_option("-c,--config", file, "the gateway that this configuration file (TOML) describes");
  app.add_option("interface", interface, "one tunnel on this host, as wg-quick and its like start it")
      ->excludes(config);
  app.add_flag("-f,--foreground", foreground, "with an interface: stay in the foreground")->excludes(config);
  app.add_option("-w,--workers", workers, "with an interface: threads that move packets (default: by cores)")
      ->check(CLI::Range(1u, DropIn::kMaxWorkers))
      ->excludes(config);
  app.set_version_flag("--version", "sluiced " SLUICE_VERSION);
  try {
    app.parse(argc, argv);
    if (file.empty() && interface.empty()) throw CLI::RequiredError("--config FILE or an interface");
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  spdlog::set_default_logger(spdlog::stderr_color_mt("sluiced"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  forbid_core_dumps();
  if (!file.empty()) return run_gateway(file, clock);
  const char* stay = std::getenv("WG_PROCESS_FOREGROUND");
  return run_drop_in(interface, workers, foreground || (stay != nullptr && std::string_view(stay) == "1"), clock);
}

}  // namespace sluice
