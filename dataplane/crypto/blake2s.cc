#include "dataplane/crypto/blake2s.h"

#include <blake2.h>

#include <algorithm>
#include <cassert>

namespace sluice {
namespace {

// One incremental computation. Its state holds key and message, hence the wiping.
class Blake2s {
 public:
  explicit Blake2s(size_t digest_size, ConstBytes key = {}) noexcept {
    if (key.empty())
      blake2s_init(&state_, digest_size);
    else
      blake2s_init_key(&state_, digest_size, key.data(), key.size());
  }
  Blake2s(const Blake2s&) = delete;
  Blake2s& operator=(const Blake2s&) = delete;
  ~Blake2s() { wipe(std::as_writable_bytes(std::span(&state_, 1))); }

  Blake2s& update(ConstBytes bytes) noexcept {
    if (!bytes.empty()) blake2s_update(&state_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    return *this;
  }
  Blake2s& update(std::initializer_list<ConstBytes> parts) noexcept {
    for (const ConstBytes part : parts) update(part);
    return *this;
  }
  void finish(Bytes digest) noexcept {
    blake2s_final(&state_, reinterpret_cast<uint8_t*>(digest.data()), digest.size());
  }

 private:
  blake2s_state state_;
};

Secret<BLAKE2S_BLOCKBYTES> hmac_key_block(ConstBytes key) noexcept {
  Secret<BLAKE2S_BLOCKBYTES> block;
  if (key.size() > BLAKE2S_BLOCKBYTES)
    Blake2s(BLAKE2S_OUTBYTES).update(key).finish(block.bytes().first(BLAKE2S_OUTBYTES));
  else
    std::ranges::copy(key, block.bytes().begin());
  return block;
}

void xor_each(Bytes bytes, std::byte value) noexcept {
  for (std::byte& b : bytes) b ^= value;
}

// T(i) = HMAC(PRK, T(i-1) | i), as HKDF without an info string (RFC 5869).
Secret<32> expand(const Secret<32>& prk, ConstBytes previous, std::byte i) noexcept {
  return hmac_blake2s(prk.bytes(), {previous, ConstBytes(&i, 1)});
}

}  // namespace

Hash blake2s(std::initializer_list<ConstBytes> parts) noexcept {
  Hash digest;
  Blake2s(digest.size()).update(parts).finish(digest);
  return digest;
}

Mac16 blake2s_mac(ConstBytes key, std::initializer_list<ConstBytes> parts) noexcept {
  assert(key.size() <= BLAKE2S_KEYBYTES);
  Mac16 mac;
  Blake2s(mac.size(), key).update(parts).finish(mac);
  return mac;
}

Secret<32> hmac_blake2s(ConstBytes key, std::initializer_list<ConstBytes> parts) noexcept {
  constexpr std::byte kInnerPad{0x36}, kOuterPad{0x5c};
  Secret<BLAKE2S_BLOCKBYTES> block = hmac_key_block(key);
  Secret<32> inner, outer;
  xor_each(block.bytes(), kInnerPad);
  Blake2s(inner.kSize).update(block.bytes()).update(parts).finish(inner.bytes());
  xor_each(block.bytes(), kInnerPad ^ kOuterPad);
  Blake2s(outer.kSize).update(block.bytes()).update(inner.bytes()).finish(outer.bytes());
  return outer;
}

Kdf1 kdf1(const Secret<32>& chaining_key, ConstBytes input) noexcept {
  const Secret<32> prk = hmac_blake2s(chaining_key.bytes(), {input});
  return {expand(prk, {}, std::byte{1})};
}

Kdf2 kdf2(const Secret<32>& chaining_key, ConstBytes input) noexcept {
  const Secret<32> prk = hmac_blake2s(chaining_key.bytes(), {input});
  Kdf2 out{.t1 = expand(prk, {}, std::byte{1}), .t2 = {}};
  out.t2 = expand(prk, out.t1.bytes(), std::byte{2});
  return out;
}

Kdf3 kdf3(const Secret<32>& chaining_key, ConstBytes input) noexcept {
  const Secret<32> prk = hmac_blake2s(chaining_key.bytes(), {input});
  Kdf3 out{.t1 = expand(prk, {}, std::byte{1}), .t2 = {}, .t3 = {}};
  out.t2 = expand(prk, out.t1.bytes(), std::byte{2});
  out.t3 = expand(prk, out.t2.bytes(), std::byte{3});
  return out;
}

}  // namespace sluice
