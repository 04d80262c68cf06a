#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <iostream>

#include "control/api/protocol.h"
#include "control/ctl/commands.h"

namespace {

bool is_open_to_others(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0;
}

std::string program_directory() {
  std::error_code error;  // without /proc: empty
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
}

}  // namespace

int main(int argc, char** argv) {
  sluice::SystemRng rng;
  sluice::ctl::World world{.in = std::cin,
                           .out = std::cout,
                           .err = std::cerr,
                           .rng = rng,
                           .machine = sluice::config::this_machine(),
                           .run_directory = std::string(sluice::api::kDefaultRunDirectory),
                           .program_directory = program_directory(),
                           .now = std::time(nullptr),
                           .output_open_to_others = is_open_to_others(STDOUT_FILENO)};
  const int status = sluice::ctl::run({argv + 1, argv + argc}, world);
  std::cout.flush();
  if (std::cout) return status;
  std::cerr << "sluice: cannot write the output\n";
  return 1;
}
