// Protocol constants under the whitepaper's names (WireGuard paper, section 6.1 and 6.5), and the values Linux uses
// where the paper is silent.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace sluice {

using namespace std::chrono_literals;

inline constexpr uint64_t kRekeyAfterMessages = uint64_t{1} << 60;
inline constexpr uint64_t kRejectAfterMessages = UINT64_MAX - (uint64_t{1} << 13);  // 2^64 - 2^13 - 1
inline constexpr std::chrono::nanoseconds kRekeyAfterTime = 120s;
inline constexpr std::chrono::nanoseconds kRejectAfterTime = 180s;
inline constexpr std::chrono::nanoseconds kRekeyAttemptTime = 90s;
inline constexpr std::chrono::nanoseconds kRekeyTimeout = 5s;
inline constexpr std::chrono::nanoseconds kRekeyTimeoutJitterMax = 333ms;
inline constexpr std::chrono::nanoseconds kKeepaliveTimeout = 10s;
inline constexpr std::chrono::nanoseconds kInitiationInterval = 20ms;  // at most 50 a second accepted per peer
inline constexpr unsigned kMaxTimerHandshakes = kRekeyAttemptTime / kRekeyTimeout;
inline constexpr std::chrono::nanoseconds kCookieSecretMaxAge = 120s;
inline constexpr std::chrono::nanoseconds kCookieSecretLatency = 5s;
// A receiver that was the initiator rekeys from this age on, even if it only receives.
inline constexpr std::chrono::nanoseconds kLastMinuteRekeyAge = kRejectAfterTime - kKeepaliveTimeout - kRekeyTimeout;
inline constexpr size_t kMaxStagedPackets = 128;  // per peer, oldest dropped first
inline constexpr size_t kReplayWindowSize = 8192 - 64;
inline constexpr size_t kMaxPeers = size_t{1} << 20;

}  // namespace sluice
