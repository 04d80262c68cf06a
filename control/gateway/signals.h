// Signals as a descriptor: blocked before any thread is made, so that all threads inherit the mask.
#pragma once

#include <csignal>
#include <initializer_list>

namespace sluice {

class Signals {
 public:
  explicit Signals(std::initializer_list<int> wanted);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  int fd() const noexcept { return fd_; }
  int next() const noexcept;  // one that has arrived; 0: none

 private:
  sigset_t set_;
  int fd_;
};

}  // namespace sluice
