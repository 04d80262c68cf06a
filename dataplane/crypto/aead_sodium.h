// The reference engine, "sodium": libsodium, packet by packet. Runs everywhere; what the other engines are compared
// with.
#pragma once

#include <memory>

#include "dataplane/crypto/aead.h"

namespace sluice {

inline constexpr std::string_view kSodiumEngine = "sodium";
std::unique_ptr<AeadEngine> make_sodium_engine();

}  // namespace sluice
