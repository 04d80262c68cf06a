// The engine "lanes": ChaCha20-Poly1305 across the packets of a burst (crypto/lanes/), so that small packets fill
// vectors as well as large ones.
#pragma once

#include <memory>

#include "dataplane/crypto/aead.h"
#include "dataplane/crypto/lanes/kernel.h"

namespace sluice {

// The best form for this CPU, with libsodium for bursts of one or two small packets, where that is quicker; and the
// forms by name, each for every burst. nullptr: not on this CPU.
inline constexpr std::string_view kLanesEngine = "lanes";
inline constexpr std::string_view kLanesAvx2Engine = "lanes-avx2";
inline constexpr std::string_view kLanesAvx512Engine = "lanes-avx512";
inline constexpr std::string_view kLanesAvx512IfmaEngine = "lanes-avx512ifma";
std::unique_ptr<AeadEngine> make_lanes_engine();
std::unique_ptr<AeadEngine> make_lanes_engine_avx2();
std::unique_ptr<AeadEngine> make_lanes_engine_avx512();
std::unique_ptr<AeadEngine> make_lanes_engine_avx512ifma();

// With one kernel, which outlives it, for every burst. `name` is a literal.
std::unique_ptr<AeadEngine> make_lanes_engine(std::string_view name, const lanes::Kernel& kernel);

}  // namespace sluice
