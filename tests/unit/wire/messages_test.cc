#include "dataplane/wire/messages.h"

#include <gtest/gtest.h>

#include <vector>

namespace sluice {
namespace {

std::vector<std::byte> message(uint32_t type, size_t size) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < 4 && i < size; ++i) bytes[i] = static_cast<std::byte>(type >> (8 * i));
  return bytes;
}

TEST(Classify, ExactLengthsForHandshakesMinimumForData) {
  for (size_t size = 0; size < 300; ++size) {
    EXPECT_EQ(classify(message(1, size)) == MessageType::kInitiation, size == 148) << size;
    EXPECT_EQ(classify(message(2, size)) == MessageType::kResponse, size == 92) << size;
    EXPECT_EQ(classify(message(3, size)) == MessageType::kCookieReply, size == 64) << size;
    EXPECT_EQ(classify(message(4, size)) == MessageType::kData, size >= 32) << size;
  }
}

TEST(Classify, ReservedBytesAndOtherTypesAreInvalid) {
  for (uint32_t type : {0x0000'0000u, 0x0000'0101u, 0x0001'0001u, 0x0100'0001u, 0x0100'0000u, 0x0400'0004u, 5u, 255u})
    for (size_t size : {32, 64, 92, 148}) EXPECT_EQ(classify(message(type, size)), MessageType::kInvalid) << type;
}

}  // namespace
}  // namespace sluice
