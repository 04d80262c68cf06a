// One trial (RFC 2544, section 24): packets at a steady rate into the gateway, and what comes out of it, with times.
#pragma once

#include <sys/types.h>

#include <span>
#include <vector>

#include "dataplane/port/port.h"
#include "tests/bench/generator/stream.h"

namespace sluice::bench {

// One direction through the gateway.
struct Lane {
  Stream& stream;
  Port& in;   // the generator's, towards the gateway
  Port& out;  // the generator's, from the gateway
};

// Of one lane.
struct Figures {
  size_t sent = 0, delivered = 0;
  double delivered_per_s = 0;        // between the first and the last that came out
  std::vector<double> latencies_us;  // of those that came out, sorted
  // Share of the trial's time in which the machine gave the generator no processor for over 50 us; the gateway, on the
  // other core, is hardly better off. No percentile above 100 % minus this says anything about the gateway.
  double away = 0;
  size_t lost() const noexcept { return sent - delivered; }
};

struct TrialSettings {
  double packets_s;  // in each direction; infinity: as fast as the port takes them, waiting for room
  size_t packets;    // in each direction
  pid_t worker;      // the gateway's worker thread, which runs undisturbed by other programs meanwhile; 0: as it does
};

// All lanes at the same time. Prepares the packets before and checks all that came out after; throws std::runtime_error
// if that is not what went in.
std::vector<Figures> run_trial(std::span<const Lane> lanes, TunnelEnd& end, const TrialSettings& settings);

double percentile(const std::vector<double>& sorted, double percent);

}  // namespace sluice::bench
