// The burst AEAD interface of the packet path: ChaCha20-Poly1305 (RFC 8439) with the protocol's nonce (4 zero bytes,
// 64-bit little-endian counter) and no additional data. Engines process a whole burst in one call, in place. Engines
// are made by crypto/select.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "dataplane/base/secret.h"

namespace sluice {

// Text may be empty (a keepalive), of any length and at any alignment; no byte outside of text and tag is read or
// written. Jobs of one burst must not overlap. The engine reads keys, texts and tags during the call only and keeps
// nothing of them.
struct SealJob {
  const Secret<32>* key;
  uint64_t nonce;
  std::span<std::byte> text;  // plaintext in, ciphertext out
  std::byte* tag;             // 16 bytes out; may directly follow text
};

struct OpenJob {
  const Secret<32>* key;
  uint64_t nonce;
  std::span<std::byte>
      text;              // ciphertext in; plaintext out if ok, else zeroed: forged plaintext is never left readable
  const std::byte* tag;  // 16 bytes in
  bool ok = false;       // out: the tag matched (compared in constant time)
};

// One instance per worker and used by that thread only. No heap, no exception, no lock once constructed.
class AeadEngine {
 public:
  static constexpr size_t kMaxBurst = 256;  // jobs per call
  AeadEngine() = default;
  AeadEngine(const AeadEngine&) = delete;
  AeadEngine& operator=(const AeadEngine&) = delete;
  virtual ~AeadEngine() = default;
  virtual std::string_view name() const noexcept = 0;
  virtual void seal(std::span<SealJob> jobs) noexcept = 0;
  virtual void open(std::span<OpenJob> jobs) noexcept = 0;
};

}  // namespace sluice
