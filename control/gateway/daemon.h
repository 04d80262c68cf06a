// Leaving the terminal: the parent waits until the child says that it is ready, so that whoever started us finds
// everything in place, or gets the error and the exit status of one that failed.
#pragma once

#include <utility>

namespace sluice {

enum class DaemonOutput {
  kNone,  // standard input, output and error go nowhere once it is ready
  kKept,  // only standard input does
};

// In the child only: call ready() when everything is in place. Ending without it makes the parent exit with status 1.
class Readiness {
 public:
  explicit Readiness(int fd, DaemonOutput output) noexcept : fd_(fd), output_(output) {}
  Readiness(Readiness&& other) noexcept : fd_(std::exchange(other.fd_, -1)), output_(other.output_) {}
  Readiness& operator=(Readiness&&) = delete;
  ~Readiness();
  void ready() noexcept;

 private:
  int fd_;
  DaemonOutput output_;
};

// Forks. Returns in the child, which has a session of its own; the parent never returns. Before any thread is made.
// Where the system has no process to give, the message goes to standard error and the exit status is 1.
Readiness daemonise(DaemonOutput output);

}  // namespace sluice
