#include "control/gateway/main.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "config/load.h"
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

}  // namespace

int sluiced_main(int argc, char** argv, const Clock& clock) {
  CLI::App app{"sluiced: WireGuard gateway that moves packets in user space"};
  std::string file;
  app.add_option("-c,--config", file, "configuration file (TOML)")->required();
  app.set_version_flag("--version", "sluiced " SLUICE_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  spdlog::set_default_logger(spdlog::stderr_color_mt("sluiced"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  forbid_core_dumps();

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

}  // namespace sluice
