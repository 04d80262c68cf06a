// genkey, genpsk, pubkey: keys as `wg` makes them, in base64.
#pragma once

#include <string>
#include <string_view>

#include "dataplane/base/random.h"
#include "dataplane/base/result.h"

namespace sluice::ctl {

std::string generate_private_key(Rng& rng);
std::string generate_preshared_key(Rng& rng);
Result<std::string> public_key_of(std::string_view private_key);  // white space around it is fine

}  // namespace sluice::ctl
