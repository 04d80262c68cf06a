// The production engine, "ipsec-mb": Intel IPsec-MB (1.3 or later) through its burst interface.
#pragma once

#include <memory>

#include "dataplane/crypto/aead.h"

namespace sluice {

inline constexpr std::string_view kIpsecMbEngine = "ipsec-mb";

// With the best instructions of this CPU, or with no more than AVX2 where the library's AVX-512 code fails the
// self-test. nullptr: the library does not support this CPU.
std::unique_ptr<AeadEngine> make_ipsec_mb_engine();
std::unique_ptr<AeadEngine> make_ipsec_mb_engine_avx2();

}  // namespace sluice
