#include "control/gateway/daemon.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace sluice {
namespace {

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "sluiced: cannot become a daemon: %s: %s\n", what, std::strerror(errno));
  std::_Exit(1);
}

// One byte: the child is ready. None: it has ended, and has said why.
[[noreturn]] void wait_for_child(int fd) {
  char byte;
  ssize_t n;
  do {
    n = read(fd, &byte, 1);
  } while (n < 0 && errno == EINTR);
  std::_Exit(n == 1 ? 0 : 1);
}

}  // namespace

Readiness daemonise(DaemonOutput output) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) give_up("pipe");
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) give_up("fork");
  if (child > 0) {
    close(fds[1]);
    wait_for_child(fds[0]);
  }
  close(fds[0]);
  setsid();
  return Readiness(fds[1], output);
}

Readiness::~Readiness() {
  if (fd_ >= 0) close(fd_);
}

void Readiness::ready() noexcept {
  const int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (nowhere >= 0) {
    dup2(nowhere, 0);
    if (output_ == DaemonOutput::kNone) {
      dup2(nowhere, 1);
      dup2(nowhere, 2);
    }
    close(nowhere);
  }
  if (chdir("/") != 0) {
    // It stays where it is: a mount that cannot be removed meanwhile.
  }
  const char byte = 1;
  while (write(fd_, &byte, 1) < 0 && errno == EINTR) {
  }
  close(std::exchange(fd_, -1));
}

}  // namespace sluice
