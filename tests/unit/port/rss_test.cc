#include "dataplane/port/rss.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

constexpr uint64_t kFlows = RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_FRAG_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_TCP |
                            RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV4_SCTP |
                            RTE_ETH_RSS_NONFRAG_IPV4_OTHER | RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_FRAG_IPV6 |
                            RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_NONFRAG_IPV6_UDP |
                            RTE_ETH_RSS_NONFRAG_IPV6_SCTP | RTE_ETH_RSS_NONFRAG_IPV6_OTHER;

TEST(Rss, AsksForAddressesAndPortsOfBothFamilies) { EXPECT_EQ(rss_functions(~uint64_t{0}) & kFlows, kFlows); }

TEST(Rss, AsksForNothingThatLooksIntoTunnelsOrAtTheLink) {
  EXPECT_EQ(rss_functions(RTE_ETH_RSS_ETH | RTE_ETH_RSS_VXLAN | RTE_ETH_RSS_GENEVE | RTE_ETH_RSS_GTPU), 0u);
}

TEST(Rss, TakesWhatThereIs) {
  constexpr uint64_t kVmxnet3 =
      RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_NONFRAG_IPV6_TCP;
  EXPECT_EQ(rss_functions(kVmxnet3 | RTE_ETH_RSS_ETH), kVmxnet3);
  EXPECT_EQ(rss_functions(0), 0u);
}

}  // namespace
}  // namespace sluice
