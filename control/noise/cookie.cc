#include "control/noise/cookie.h"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstring>

#include "dataplane/base/wire_integer.h"
#include "dataplane/crypto/primitives.h"

namespace sluice {
namespace {

constexpr size_t kMacSize = sizeof(Mac16);
static_assert(sizeof(InitiationMessage::mac1) == kMacSize && sizeof(InitiationMessage::mac2) == kMacSize);

// The parts of a message: mac1 covers all before it, mac2 all before it, mac1 included.
ConstBytes covered_by_mac1(ConstBytes message) noexcept { return message.first(message.size() - 2 * kMacSize); }
ConstBytes covered_by_mac2(ConstBytes message) noexcept { return message.first(message.size() - kMacSize); }
template <class Span>
Span mac1_of(Span message) noexcept {
  return message.subspan(message.size() - 2 * kMacSize, kMacSize);
}
template <class Span>
Span mac2_of(Span message) noexcept {
  return message.last(kMacSize);
}

[[maybe_unused]] bool is_handshake_message(ConstBytes message) noexcept {
  return message.size() == sizeof(InitiationMessage) || message.size() == sizeof(ResponseMessage);
}

// Both kinds of message have their sender's index behind the type.
le32 sender_index_of(ConstBytes message) noexcept {
  le32 index;
  std::memcpy(&index, message.data() + offsetof(InitiationMessage, sender_index), sizeof index);
  return index;
}
static_assert(offsetof(InitiationMessage, sender_index) == offsetof(ResponseMessage, sender_index));

}  // namespace

bool has_valid_mac1(const LocalIdentity& local, ConstBytes message) noexcept {
  assert(is_handshake_message(message));
  return equal_constant_time(blake2s_mac(local.mac1_key, {covered_by_mac1(message)}), mac1_of(message));
}

Secret<16> CookieIssuer::cookie_of(const Endpoint& source, MonoTime now) noexcept {
  if (secret_born_.is_never() || now - secret_born_ >= kCookieSecretMaxAge) {
    rng_.fill(secret_.bytes());
    secret_born_ = now;
  }
  const be16 port(source.port);
  const ConstBytes address = std::as_bytes(std::span(source.address.bytes)).first(source.address.size());
  Mac16 mac = blake2s_mac(secret_.bytes(), {address, std::as_bytes(std::span(&port, 1))});
  Secret<16> cookie{std::span<const std::byte, 16>(mac)};
  wipe(mac);
  return cookie;
}

bool CookieIssuer::has_valid_mac2(ConstBytes message, const Endpoint& source, MonoTime now) noexcept {
  assert(is_handshake_message(message));
  const Secret<16> cookie = cookie_of(source, now);
  return equal_constant_time(blake2s_mac(cookie.bytes(), {covered_by_mac2(message)}), mac2_of(message));
}

CookieReplyMessage CookieIssuer::make_reply(const LocalIdentity& local, ConstBytes message, const Endpoint& source,
                                            MonoTime now) noexcept {
  assert(is_handshake_message(message));
  CookieReplyMessage reply{};
  reply.type = static_cast<uint32_t>(MessageType::kCookieReply);
  reply.receiver_index = sender_index_of(message);
  rng_.fill(reply.nonce);
  xaead_seal(local.cookie_key, reply.nonce, cookie_of(source, now).bytes(), mac1_of(message), reply.encrypted_cookie);
  return reply;
}

void CookieJar::add_macs(Bytes message, const RemoteIdentity& remote, MonoTime now) noexcept {
  assert(is_handshake_message(message));
  last_mac1_ = blake2s_mac(remote.mac1_key, {covered_by_mac1(message)});
  std::ranges::copy(*last_mac1_, mac1_of(message).begin());

  const bool usable = !received_at_.is_never() && now - received_at_ < kCookieSecretMaxAge - kCookieSecretLatency;
  const Mac16 mac2 = usable ? blake2s_mac(cookie_.bytes(), {covered_by_mac2(message)}) : Mac16{};
  std::ranges::copy(mac2, mac2_of(message).begin());
}

std::optional<CookieError> CookieJar::consume(const CookieReplyMessage& reply, const RemoteIdentity& remote,
                                              MonoTime now) noexcept {
  if (!last_mac1_) return CookieError::kUnexpected;
  Secret<16> cookie;
  if (!xaead_open(remote.cookie_key, reply.nonce, reply.encrypted_cookie, *last_mac1_, cookie.bytes()))
    return CookieError::kForged;
  cookie_ = std::move(cookie);
  received_at_ = now;
  last_mac1_.reset();
  return std::nullopt;
}

}  // namespace sluice
