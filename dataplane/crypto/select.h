// Which AEAD engines this CPU can run, and the making of one. Each is examined first (crypto/self_test.h): one that
// computes wrong results here is not available. Control thread, at start; crypto_init() first.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "dataplane/crypto/aead.h"
#include "dataplane/crypto/measure.h"

namespace sluice {

// Names of the engines that run on this CPU: "lanes" and its forms ("lanes-avx2"), "ipsec-mb", "sodium".
std::vector<std::string_view> available_engines();

// The engine of that name, or the fastest one for an empty name; nullptr if this CPU or build has no such engine.
std::unique_ptr<AeadEngine> make_engine(std::string_view name = {});

// What make_engine() chooses the fastest by. Measured by the first call, once per process, so that all workers get the
// same engine.
const std::vector<EngineSpeed>& engine_speeds();

}  // namespace sluice
