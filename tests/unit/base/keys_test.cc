#include "dataplane/base/keys.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(Keys, Base64AndHexRoundTrip) {
  PublicKey key;
  for (size_t i = 0; i < 32; ++i) key.bytes[i] = static_cast<std::byte>(i * 7 + 1);
  const std::string text = to_base64(key.bytes);
  EXPECT_EQ(text.size(), 44u);
  EXPECT_EQ(public_key_from_base64(text), key);
  PublicKey back;
  ASSERT_TRUE(key_from_hex(to_hex(key.bytes), back.bytes));
  EXPECT_EQ(back, key);
}

TEST(Keys, RefusesWhatIsNotOneKey) {
  std::array<std::byte, 32> out;
  for (const char* text :
       {"", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "????????????????????????????????????????????"})
    EXPECT_FALSE(key_from_base64(text, out)) << text;
  EXPECT_FALSE(key_from_hex(std::string(63, 'a'), out));
  EXPECT_FALSE(key_from_hex(std::string(64, 'g'), out));
  EXPECT_TRUE(key_from_hex(std::string(64, 'F'), out));
}

TEST(Secrets, AreWipedWhenMovedFrom) {
  Secret<32> a;
  a.bytes()[5] = std::byte{9};
  Secret<32> b = std::move(a);
  EXPECT_TRUE(a.is_zero());
  EXPECT_FALSE(b.is_zero());
  EXPECT_TRUE(b.equals(b.clone()));
}

}  // namespace
}  // namespace sluice
