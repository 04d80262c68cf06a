// From a TOML file to a validated model: the one way in, used by sluiced at start and on reload, and by `sluice check`.
// Control thread; may block on the file system. No exceptions leave it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/model.h"
#include "config/report.h"

namespace sluice::config {

// What validation must know of the machine, passed in so that tests decide.
struct Machine {
  std::vector<unsigned> cpus;  // that this process may run on, ascending, not empty
};
Machine this_machine();

struct Loaded {
  std::shared_ptr<const Model> model;  // null exactly if there are errors
  std::vector<Diagnostic> errors;      // all of them, in file order
  std::vector<Diagnostic> warnings;    // in file order
};

Loaded load(const std::string& path, const Machine& machine);

// The same for text that stands in memory. `path` is used in messages, and key files are relative to its directory.
Loaded load_text(std::string_view text, const std::string& path, const Machine& machine);

}  // namespace sluice::config
