// DPDK's log, caught: nothing of it reaches the terminal, and what it says first when something fails (the driver's
// reason; what follows is that somebody further up failed too) becomes part of our own message. The log is DPDK's
// process-wide state, so this is too. Any thread.
#pragma once

#include <string>

namespace sluice {

void catch_dpdk_log();   // errors only, from now on; again and again is fine
void forget_dpdk_log();  // before a call whose failure is to be explained
std::string dpdk_log();  // the first line since then; empty if there is none

// `what`, and in brackets what DPDK logged about it or, failing that, the text of `error` (a positive errno).
std::string with_dpdk_reason(const std::string& what, int error);

}  // namespace sluice
