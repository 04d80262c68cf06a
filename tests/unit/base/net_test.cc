#include "dataplane/base/net.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(Net, AddressesRoundTrip) {
  for (const char* text : {"0.0.0.0", "192.0.2.1", "::", "2001:db8::1", "::ffff:192.0.2.1"}) {
    const auto address = parse_address(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(to_string(*address), text);
  }
  for (const char* text : {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", ":::", "1.2.3.4 ", "fe80::1%eth0"})
    EXPECT_FALSE(parse_address(text)) << text;
}

TEST(Net, MappedAddressesStayIpv6) { EXPECT_TRUE(parse_address("::ffff:192.0.2.1")->is_ipv6()); }

TEST(Net, PrefixesMaskHostBits) {
  EXPECT_EQ(to_string(*parse_prefix("192.95.5.93/27")), "192.95.5.64/27");
  EXPECT_EQ(to_string(*parse_prefix("2001:db8::ffff/33")), "2001:db8::/33");
  EXPECT_EQ(to_string(*parse_prefix("10.1.2.3/0")), "0.0.0.0/0");
  for (const char* text : {"10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "10.0.0.0/", "/8", "10.0.0.0/8 "})
    EXPECT_FALSE(parse_prefix(text)) << text;
}

TEST(Net, PrefixContainsItsFamilyOnly) {
  const Prefix p = *parse_prefix("0.0.0.0/0");
  EXPECT_TRUE(p.contains(*parse_address("8.8.8.8")));
  EXPECT_FALSE(p.contains(*parse_address("::ffff:8.8.8.8")));
}

TEST(Net, InterfaceAddressesKeepHostBits) {
  EXPECT_EQ(to_string(*parse_interface_address("10.1.0.1/16")), "10.1.0.1/16");
  EXPECT_FALSE(parse_interface_address("10.1.0.1"));
}

TEST(Net, EndpointsRoundTrip) {
  for (const char* text : {"192.0.2.1:51820", "[2001:db8::1]:1", "192.0.2.1:0", "[fe80::1%lo]:5"}) {
    const auto endpoint = parse_endpoint(text);
    ASSERT_TRUE(endpoint) << text;
    EXPECT_EQ(to_string(*endpoint), text);
  }
  for (const char* text : {"192.0.2.1", "192.0.2.1:65536", "2001:db8::1:5", "[192.0.2.1]:5", "host:5",
                           "192.0.2.1:", "[::1]", "[fe80::1%nosuch9]:5", "1.2.3.4%1:5"})
    EXPECT_FALSE(parse_endpoint(text)) << text;
}

TEST(Net, MacsRoundTrip) {
  EXPECT_EQ(to_string(*parse_mac("02:00:5e:10:00:ff")), "02:00:5e:10:00:ff");
  for (const char* text : {"", "02:00:5e:10:00", "02-00-5e-10-00-ff", "0g:00:5e:10:00:ff"})
    EXPECT_FALSE(parse_mac(text));
}

}  // namespace
}  // namespace sluice
