// Drop-in mode: one tunnel on a plain host, as every userspace implementation of WireGuard runs (uapi.md's process
// model): a TUN inside, the kernel's UDP sockets outside, everything else by the configuration socket. No NIC, no huge
// pages; a worker that sleeps whenever there is nothing to do.
#pragma once

#include <memory>
#include <string>

#include "dataplane/base/clock.h"
#include "dataplane/base/result.h"

namespace sluice {

class DropIn {
 public:
  static constexpr unsigned kMaxWorkers = 16;
  struct Options {
    std::string interface;
    int tun = -1;          // an open TUN to use (WG_TUN_FD); -1: one is made
    int socket = -1;       // a listening Unix socket to serve (WG_UAPI_FD); -1: one is made
    unsigned workers = 0;  // 0: as many as suit the cores that we may use
  };
  // Interface and socket exist, worker runs; on error nothing is left behind. `clock` outlives it.
  static Result<std::unique_ptr<DropIn>> start(const Options& options, const Clock& clock);
  ~DropIn();

  // Until SIGTERM or SIGINT, or until the interface or the socket's file is deleted.
  void run();

 private:
  struct State;
  explicit DropIn(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sluice
