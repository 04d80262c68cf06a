// Built where OpenSSL is not installed.
#include "tests/bench/openssl_engine.h"

namespace sluice::bench {

std::unique_ptr<AeadEngine> make_openssl_engine() { return nullptr; }

}  // namespace sluice::bench
