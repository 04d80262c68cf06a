// The four WireGuard messages (WireGuard paper, section 5.4) and their classification. Type and reserved bytes are one
// little-endian word: a non-zero reserved byte makes the message invalid.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/base/wire_integer.h"

namespace sluice {

using Bytes = std::span<std::byte>;
using ConstBytes = std::span<const std::byte>;

enum class MessageType : uint32_t { kInvalid = 0, kInitiation = 1, kResponse = 2, kCookieReply = 3, kData = 4 };

template <size_t N>
using WireBytes = std::array<std::byte, N>;
inline constexpr size_t kTagSize = 16;
inline constexpr size_t kTimestampSize = 12;  // TAI64N

struct InitiationMessage {
  le32 type;
  le32 sender_index;
  WireBytes<32> ephemeral;
  WireBytes<32 + kTagSize> encrypted_static;
  WireBytes<kTimestampSize + kTagSize> encrypted_timestamp;
  WireBytes<16> mac1;
  WireBytes<16> mac2;
};

struct ResponseMessage {
  le32 type;
  le32 sender_index;
  le32 receiver_index;
  WireBytes<32> ephemeral;
  WireBytes<kTagSize> encrypted_empty;
  WireBytes<16> mac1;
  WireBytes<16> mac2;
};

struct CookieReplyMessage {
  le32 type;
  le32 receiver_index;
  WireBytes<24> nonce;
  WireBytes<16 + kTagSize> encrypted_cookie;
};

struct DataHeader {
  le32 type;
  le32 receiver_index;
  le64 counter;
};

inline constexpr size_t kMaxHandshakeSize = sizeof(InitiationMessage);
inline constexpr size_t kDataOverhead = sizeof(DataHeader) + kTagSize;  // also the size of a keepalive

static_assert(sizeof(InitiationMessage) == 148 && alignof(InitiationMessage) == 1);
static_assert(sizeof(ResponseMessage) == 92 && alignof(ResponseMessage) == 1);
static_assert(sizeof(CookieReplyMessage) == 64 && alignof(CookieReplyMessage) == 1);
static_assert(sizeof(DataHeader) == 16 && alignof(DataHeader) == 1);

// The type of a UDP payload if its type word and its length fit each other (exact for handshake messages, at least a
// keepalive's 32 bytes for data), else kInvalid.
inline MessageType classify(ConstBytes payload) noexcept {
  if (payload.size() < sizeof(le32)) return MessageType::kInvalid;
  const auto type = reinterpret_cast<const le32*>(payload.data())->host();
  const size_t n = payload.size();
  if (type == static_cast<uint32_t>(MessageType::kData)) [[likely]]
    return n >= kDataOverhead ? MessageType::kData : MessageType::kInvalid;
  switch (static_cast<MessageType>(type)) {
    case MessageType::kInitiation:
      return n == sizeof(InitiationMessage) ? MessageType::kInitiation : MessageType::kInvalid;
    case MessageType::kResponse:
      return n == sizeof(ResponseMessage) ? MessageType::kResponse : MessageType::kInvalid;
    case MessageType::kCookieReply:
      return n == sizeof(CookieReplyMessage) ? MessageType::kCookieReply : MessageType::kInvalid;
    default:
      return MessageType::kInvalid;
  }
}

// Size of the plaintext of an inner packet of n bytes: padded to 16, but not beyond the tunnel's MTU (0: no cap). An
// oversized packet is padded as its last MTU-sized part would be (Linux driver, calculate_skb_padding's rule).
constexpr size_t padded_size(size_t n, size_t mtu) noexcept {
  const size_t last = mtu != 0 && n > mtu ? n % mtu : n;
  const size_t aligned = (last + 15) & ~size_t{15};
  const size_t padded = mtu != 0 && aligned > mtu ? mtu : aligned;
  return n - last + padded;
}

}  // namespace sluice
