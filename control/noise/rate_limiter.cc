#include "control/noise/rate_limiter.h"

#include <sodium.h>

#include <algorithm>
#include <cstring>

namespace sluice {
namespace {

constexpr size_t kForgottenPerCall = 4;  // more than the one entry that a call can add

}  // namespace

RateLimiter::RateLimiter(Rng& rng) noexcept {
  SourceHash hash;
  rng.fill(std::as_writable_bytes(std::span(hash.key)));
  by_source_ = decltype(by_source_)(0, hash);
}

bool RateLimiter::allow(const IpAddress& source, MonoTime now) {
  forget_idle(now, kForgottenPerCall);
  const Source key = source_of(source);
  const auto found = by_source_.find(key);
  if (found == by_source_.end()) {
    if (sources() >= kMaxSources) return false;
    by_source_.emplace(key, by_age_.insert(by_age_.end(), {key, now, kMaxCredit - kCost}));
    return true;
  }
  Bucket& bucket = *found->second;
  bucket.credit = std::min(kMaxCredit, bucket.credit + (now - bucket.last_seen));
  bucket.last_seen = now;
  by_age_.splice(by_age_.end(), by_age_, found->second);
  if (bucket.credit < kCost) return false;
  bucket.credit -= kCost;
  return true;
}

void RateLimiter::collect(MonoTime now) { forget_idle(now, kMaxSources); }

void RateLimiter::forget_idle(MonoTime now, size_t at_most) {
  for (; at_most > 0 && !by_age_.empty() && now - by_age_.front().last_seen > kIdleAfter; --at_most) {
    by_source_.erase(by_age_.front().source);
    by_age_.pop_front();
  }
}

RateLimiter::Source RateLimiter::source_of(const IpAddress& address) noexcept {
  Source source{.prefix = 0, .family = address.family};
  std::memcpy(&source.prefix, address.bytes.data(), std::min<size_t>(address.size(), sizeof source.prefix));
  return source;
}

size_t RateLimiter::SourceHash::operator()(const Source& source) const noexcept {
  std::array<unsigned char, sizeof source.prefix + 1> bytes;
  std::memcpy(bytes.data(), &source.prefix, sizeof source.prefix);
  bytes.back() = static_cast<unsigned char>(source.family);
  std::array<unsigned char, crypto_shorthash_BYTES> hash;
  crypto_shorthash(hash.data(), bytes.data(), bytes.size(), key.data());
  size_t result;
  static_assert(sizeof result == sizeof hash && sizeof key == crypto_shorthash_KEYBYTES);
  std::memcpy(&result, hash.data(), sizeof result);
  return result;
}

}  // namespace sluice
