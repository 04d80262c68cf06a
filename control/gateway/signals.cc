#include "control/gateway/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

namespace sluice {

Signals::Signals(std::initializer_list<int> wanted) {
  sigemptyset(&set_);
  for (int signal : wanted) sigaddset(&set_, signal);
  pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  fd_ = signalfd(-1, &set_, SFD_CLOEXEC | SFD_NONBLOCK);
}

Signals::~Signals() {
  close(fd_);
  pthread_sigmask(SIG_UNBLOCK, &set_, nullptr);
}

int Signals::next() const noexcept {
  signalfd_siginfo info;
  return read(fd_, &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

}  // namespace sluice
