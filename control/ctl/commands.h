// The program `sluice`: its command line and what each command does, with the outside world passed in.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "config/load.h"
#include "dataplane/base/random.h"

namespace sluice::ctl {

struct World {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  Rng& rng;
  config::Machine machine;
  std::string run_directory;
  std::string program_directory;       // where this program is, and with it the others of the package
  int64_t now = 0;                     // unix seconds
  bool output_open_to_others = false;  // standard output is a file that others can read
};

// `arguments` without the program's name. Exit status: 0 ok, 1 failed, 2 usage.
int run(std::vector<std::string> arguments, World& world);

}  // namespace sluice::ctl
