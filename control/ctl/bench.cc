#include "control/ctl/bench.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace sluice::ctl {

Error become_bench(const std::string& directory, const std::vector<std::string>& arguments) {
  std::string name = "sluice-bench";
  std::vector<std::string> copies = arguments;
  std::vector<char*> argv{name.data()};
  for (std::string& argument : copies) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const std::string beside = directory + "/" + name;
  execv(beside.c_str(), argv.data());
  if (errno != ENOENT) return {beside + ": " + std::strerror(errno), errno};
  execvp(name.c_str(), argv.data());
  return {name + " is neither in " + directory + " nor in PATH: install it (meson install)", errno};
}

}  // namespace sluice::ctl
