// OpenSSL's ChaCha20-Poly1305 behind the burst interface, one packet after the other: a well-known yardstick. For the
// bench only.
#pragma once

#include <memory>

#include "dataplane/crypto/aead.h"

namespace sluice::bench {

std::unique_ptr<AeadEngine> make_openssl_engine();  // nullptr: built without OpenSSL

}  // namespace sluice::bench
