#include "dataplane/session/allowed_ips.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "tests/support/naive_router.h"
#include "tests/support/vectors.h"

namespace sluice {
namespace {

Prefix prefix(const std::string& text) { return parse_prefix(text).value(); }
IpAddress address(const std::string& text) { return parse_address(text).value(); }

std::vector<std::string> listed(const AllowedIps& table, uint32_t peer) {
  std::vector<std::string> texts;
  for (const Prefix& p : table.list(peer)) texts.push_back(to_string(p));
  return texts;
}

// with it (scenario remove-one).
TEST(AllowedIps, A01AllScenarios) {
  const auto vectors = test::load_vectors("allowedips.json");
  size_t checks = 0;
  for (const auto& scenario : vectors["vectors"]) {
    SCOPED_TRACE(scenario["id"].get<std::string>());
    AllowedIps table;
    std::map<std::string, uint32_t> slots;
    const auto slot = [&](const nlohmann::json& name) {
      if (name.is_null()) return PrefixView::kNone;
      return slots.emplace(name.get<std::string>(), 10 + static_cast<uint32_t>(slots.size())).first->second;
    };
    for (const auto& op : scenario["ops"]) {
      SCOPED_TRACE(op.dump());
      const std::string kind = op["op"];
      if (kind == "insert") {
        table.insert(prefix(op["prefix"]), slot(op["peer"]));
      } else if (kind == "remove") {
        table.erase(prefix(op["prefix"]), slot(op["peer"]));
      } else if (kind == "remove_peer") {
        table.erase_peer(slot(op["peer"]));
      } else if (kind == "lookup") {
        ASSERT_EQ(table.view().find(address(op["ip"])), slot(op["peer"]));
        ++checks;
      } else {
        ASSERT_EQ(kind, "list");
        ASSERT_EQ(listed(table, slot(op["peer"])), op["prefixes"].get<std::vector<std::string>>());
        ++checks;
      }
    }
  }
  EXPECT_GT(checks, 100u);
}

TEST(AllowedIps, A02PeersLeaveOneByOne) {
  constexpr uint32_t kPeers = 2000;
  test::SeededRng rng(2);
  AllowedIps table;
  test::NaiveRouter router;
  std::map<Prefix, uint32_t> owners;
  const std::vector<Prefix> prefixes = test::clustered_prefixes(rng, 4000);
  for (const Prefix& p : prefixes) {
    const uint32_t peer = rng.below(kPeers);
    table.insert(p, peer);
    router.insert(p, peer);
    owners[p] = peer;
  }
  const auto compare = [&](int look_ups) {
    const PrefixView view = table.view();
    for (int i = 0; i < look_ups; ++i) {
      const IpAddress target = test::random_address_near(rng, prefixes[rng.below(4000)]);
      ASSERT_EQ(view.find(target), router.find(target).value_or(PrefixView::kNone)) << to_string(target);
    }
  };
  compare(20'000);
  for (uint32_t peer = 0; peer < kPeers; ++peer) {
    table.erase_peer(peer);
    EXPECT_TRUE(table.list(peer).empty());
    for (auto owned = owners.begin(); owned != owners.end();) {
      if (owned->second != peer) {
        ++owned;
        continue;
      }
      router.erase(owned->first);
      owned = owners.erase(owned);
    }
    ASSERT_EQ(table.size(), owners.size());
    compare(20);
  }
  EXPECT_EQ(table.size(), 0u);
  for (const Prefix& p : prefixes) EXPECT_EQ(table.view().find(p.address), PrefixView::kNone);
}

// one peer owns every other link of a chain of 128 addresses that part one bit later each.
TEST(AllowedIps, A03RemoveByPeerInDeepChains) {
  AllowedIps table;
  const IpAddress base = address("2001:db8::");
  for (unsigned bit = 0; bit < 128; ++bit) {
    IpAddress next = base;
    test::flip_bit(next, bit);
    table.insert(Prefix::host(next), bit % 2);
  }
  table.view();
  table.erase_peer(0);
  EXPECT_EQ(table.size(), 64u);
  for (unsigned bit = 0; bit < 128; ++bit) {
    IpAddress next = base;
    test::flip_bit(next, bit);
    EXPECT_EQ(table.view().find(next), bit % 2 == 1 ? 1 : PrefixView::kNone);
  }
  table.erase_peer(1);
  EXPECT_EQ(table.size(), 0u);
}

TEST(AllowedIps, A04ListsMaskHostBitsAndShowEachPrefixOnce) {
  AllowedIps table;
  for (const char* text : {"192.95.5.93/27", "192.95.5.65/27", "2001:db8::5/64", "10.1.2.3/32"})
    table.insert(prefix(text), 1);
  EXPECT_EQ(listed(table, 1), (std::vector<std::string>{"192.95.5.64/27", "2001:db8::/64", "10.1.2.3/32"}));
}

TEST(AllowedIps, A05PrefixMovesToTheLaterPeer) {
  AllowedIps table;
  table.insert(prefix("10.1.0.0/16"), 1);
  table.insert(prefix("10.2.0.0/16"), 1);
  table.insert(prefix("10.1.0.0/16"), 2);
  EXPECT_EQ(listed(table, 1), (std::vector<std::string>{"10.2.0.0/16"}));
  EXPECT_EQ(listed(table, 2), (std::vector<std::string>{"10.1.0.0/16"}));
  EXPECT_EQ(table.view().find(address("10.1.0.1")), 2u);  // 1's packets from there are no longer 1's
  EXPECT_EQ(table.size(), 2u);
}

TEST(AllowedIps, A06DefaultRouteAloneAfterReplacement) {
  AllowedIps table;
  for (const char* text : {"0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "::/0", "2001:db8::/32"})
    table.insert(prefix(text), 1);
  table.erase_peer(1);  // replace-allowed-ips
  table.insert(prefix("0.0.0.0/0"), 1);
  table.insert(prefix("::/0"), 1);
  EXPECT_EQ(listed(table, 1), (std::vector<std::string>{"0.0.0.0/0", "::/0"}));
  EXPECT_EQ(table.view().find(address("10.1.2.3")), 1u);
  EXPECT_EQ(table.view().find(address("255.255.255.255")), 1u);
  EXPECT_EQ(table.view().find(address("2001:db8::1")), 1u);
  EXPECT_EQ(table.view().find(address("::")), 1u);
}

TEST(AllowedIps, A08OnlyTheExactOwnerRemoves) {
  AllowedIps table;
  table.insert(prefix("10.0.0.0/8"), 1);
  table.insert(prefix("10.1.0.0/16"), 2);
  EXPECT_FALSE(table.erase(prefix("10.1.0.0/16"), 1));  // another's
  EXPECT_FALSE(table.erase(prefix("10.2.0.0/16"), 1));  // covered, but not a prefix of the table
  EXPECT_FALSE(table.erase(prefix("10.0.0.0/9"), 1));
  EXPECT_EQ(table.size(), 2u);
  EXPECT_TRUE(table.erase(prefix("10.1.0.0/16"), 2));
  EXPECT_FALSE(table.erase(prefix("10.1.0.0/16"), 2));
  EXPECT_EQ(table.view().find(address("10.1.0.1")), 1u);  // the shorter prefix is effective again
  EXPECT_TRUE(table.list(2).empty());
}

TEST(AllowedIps, ListsAreInOrderOfInsertionAndTheLastWinsTheLastPlace) {
  AllowedIps table;
  for (const char* text : {"10.9.0.0/16", "10.1.0.0/16", "::/0", "10.5.0.0/16"}) table.insert(prefix(text), 1);
  EXPECT_EQ(listed(table, 1), (std::vector<std::string>{"10.9.0.0/16", "10.1.0.0/16", "::/0", "10.5.0.0/16"}));
  table.insert(prefix("10.1.0.0/16"), 1);
  EXPECT_EQ(listed(table, 1), (std::vector<std::string>{"10.9.0.0/16", "::/0", "10.5.0.0/16", "10.1.0.0/16"}));
  table.insert(prefix("10.9.0.0/16"), 2);
  table.insert(prefix("10.9.0.0/16"), 1);
  EXPECT_EQ(listed(table, 1), (std::vector<std::string>{"::/0", "10.5.0.0/16", "10.1.0.0/16", "10.9.0.0/16"}));
}

class SharedAllowedIps : public testing::Test {
 protected:
  SharedAllowedIps() { table.share(true); }
  // "1 2, latest 2"; "1" alone; "none"
  std::string owners(const std::string& of) {
    const uint32_t value = table.view().find(address(of));
    if (value == PrefixView::kNone) return "none";
    const SharedOwners* several = shared_owners(table.shared(), value);
    if (several == nullptr) return std::to_string(value);
    std::string text;
    for (const uint32_t slot : several->slots) text += std::to_string(slot) + " ";
    return text + "latest " + std::to_string(several->latest);
  }
  AllowedIps table;
};

TEST_F(SharedAllowedIps, NobodyLosesAPrefixToAnother) {
  for (const uint32_t peer : {2u, 1u}) {
    table.insert(prefix("0.0.0.0/0"), peer);
    table.insert(prefix("10.0.0." + std::to_string(peer) + "/32"), peer);
  }
  EXPECT_EQ(owners("8.8.8.8"), "1 2 latest 1");
  EXPECT_EQ(owners("10.0.0.2"), "2");
  EXPECT_EQ(listed(table, 2), (std::vector<std::string>{"0.0.0.0/0", "10.0.0.2/32"}));
  EXPECT_EQ(listed(table, 1), (std::vector<std::string>{"0.0.0.0/0", "10.0.0.1/32"}));
  table.insert(prefix("0.0.0.0/0"), 2);
  EXPECT_EQ(owners("8.8.8.8"), "1 2 latest 2");
  EXPECT_EQ(listed(table, 2), (std::vector<std::string>{"10.0.0.2/32", "0.0.0.0/0"}));
}

TEST_F(SharedAllowedIps, WhoIsLeftHasItAlone) {
  for (const uint32_t peer : {1u, 2u, 3u}) table.insert(prefix("10.0.0.0/8"), peer);
  EXPECT_FALSE(table.erase(prefix("10.0.0.0/8"), 4));
  EXPECT_TRUE(table.erase(prefix("10.0.0.0/8"), 2));
  EXPECT_EQ(owners("10.1.1.1"), "1 3 latest 3");
  table.erase_peer(3);
  EXPECT_EQ(owners("10.1.1.1"), "1");
  EXPECT_EQ(listed(table, 3), std::vector<std::string>{});
  EXPECT_FALSE(table.erase(prefix("10.0.0.0/8"), 3));
  table.insert(prefix("10.0.0.0/8"), 1);
  EXPECT_EQ(listed(table, 1), std::vector<std::string>{"10.0.0.0/8"});
  EXPECT_TRUE(table.erase(prefix("10.0.0.0/8"), 1));
  EXPECT_EQ(owners("10.1.1.1"), "none");
}

TEST_F(SharedAllowedIps, AnOldViewKeepsItsOwners) {
  table.insert(prefix("10.0.0.0/8"), 1);
  table.insert(prefix("10.0.0.0/8"), 2);
  const auto before = table.shared();
  table.insert(prefix("10.0.0.0/8"), 3);
  EXPECT_EQ(table.shared()[0].slots.size(), 3u);
  EXPECT_EQ(before[0].slots.size(), 2u);
  const AllowedIps::Garbage garbage = table.take_garbage();
  EXPECT_EQ(garbage.shared.size(), 1u);
}

}  // namespace
}  // namespace sluice
