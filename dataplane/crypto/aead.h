// The burst AEAD interface of the packet path: ChaCha20-Poly1305 (RFC 8439) with the protocol's nonce (4 zero bytes,
// 64-bit little-endian counter) and no additional data. Engines process a whole burst in one call, in place. Engines
// are made by crypto/select.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "dataplane/base/prefetch.h"
#include "dataplane/base/secret.h"
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/messages.h"

namespace sluice {

// Text may be empty (a keepalive), of any length and at any alignment; no byte outside of text and tag is read or
// written. Jobs of one burst must not overlap. The engine reads keys, texts and tags during the call only and keeps
// nothing of them.
struct SealJob {
  const Secret<32>* key;
  uint64_t nonce;
  std::span<std::byte> text;  // plaintext in, ciphertext out
  std::byte* tag;             // 16 bytes out; may directly follow text
  uint32_t sum = 0;           // if wanted: in, of what stands in front of the text; out, of all up to the tag's end
};

struct OpenJob {
  const Secret<32>* key;
  uint64_t nonce;
  std::span<std::byte>
      text;              // ciphertext in; plaintext out if ok, else zeroed: forged plaintext is never left readable
  const std::byte* tag;  // 16 bytes in
  bool ok = false;       // out: the tag matched (compared in constant time)
  uint32_t sum = 0;      // as SealJob's
};

// Whether jobs' sums are wanted: to the Internet checksum (checksum_add) of what stands in front, an even number of
// bytes, ciphertext and tag are added, as they are on the wire. Who authenticates has every byte of them at hand.
enum class Sums : bool { kUnwanted, kWanted };

// From the sum of all up to a ciphertext's end to that of a job. RFC 1071, section 2(B): of an odd place's bytes the
// sum is that of an even place's with its halves swapped, or multiplied by 256.
inline uint32_t sum_with_tag(uint64_t sum_of_text, size_t size_of_text, const std::byte* tag) noexcept {
  const uint64_t sum_of_tag = checksum_of<kTagSize>(tag);
  return checksum_fold_to_32(sum_of_text + (sum_of_tag << (size_of_text % 2 * 8)));
}

// Sums for engines that have to read the ciphertexts once more for them.
template <class Job>
void add_up(std::span<Job> jobs) noexcept {
  for (Job& job : jobs) job.sum = sum_with_tag(checksum_add(job.text, job.sum), job.text.size(), job.tag);
}

// One instance per worker and used by that thread only. No heap, no exception, no lock once constructed.
class AeadEngine {
 public:
  static constexpr size_t kMaxBurst = 256;  // jobs per call
  AeadEngine() = default;
  AeadEngine(const AeadEngine&) = delete;
  AeadEngine& operator=(const AeadEngine&) = delete;
  virtual ~AeadEngine() = default;
  virtual std::string_view name() const noexcept = 0;
  virtual void seal(std::span<SealJob> jobs, Sums sums = Sums::kUnwanted) noexcept = 0;
  virtual void open(std::span<OpenJob> jobs, Sums sums = Sums::kUnwanted) noexcept = 0;

  // Cache lines that the caller reads after the next call, and lets live until then: they come while it computes,
  // which leaves memory idle. An engine that cannot do that asks for all of them at once.
  virtual void read_after_next(std::span<const void* const> lines) noexcept {
    for (const void* line : lines) prefetch_far(line);
  }
};

}  // namespace sluice
