// Reload: what differs between two files, what of it needs a restart, and the words for it.
#include "config/diff.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/load.h"
#include "tests/unit/config/scratch.h"

namespace sluice::config {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr std::string_view kBase = R"([gateway]
name = "paris"
[[port]]
name = "wan"
device = "af_packet:wan0"
addresses = ["198.51.100.10/24", "198.51.100.11/24"]
[[route]]
to = "0.0.0.0/0"
via = "198.51.100.1"
[[tunnel]]
name = "wg0"
private-key = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo="
listen-port = 51820
addresses = ["10.255.0.1/24", "10.254.0.1/24"]
[[tunnel.peer]]
name = "berlin"
public-key = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="
endpoint = "vpn.berlin.example:51820"
allowed-ips = ["10.2.0.0/16", "2001:db8:2::/48"]
[[tunnel.peer]]
name = "oslo"
public-key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
preshared-key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
allowed-ips = ["10.3.0.0/16"]
)";

std::shared_ptr<const Model> model_of(std::string_view toml) {
  Loaded loaded = load_text(toml, "f", Machine{{0, 1, 2, 3}});
  for (const Diagnostic& error : loaded.errors) ADD_FAILURE() << to_string(error);
  return loaded.model;
}

struct Edit {
  std::string_view from, to;
};

std::string edited(const std::vector<Edit>& edits) {
  std::string text(kBase);
  for (const Edit& edit : edits) {
    const size_t at = text.find(edit.from);
    EXPECT_NE(at, std::string::npos) << edit.from;
    text.replace(at, edit.from.size(), edit.to);
  }
  return text;
}

class Diff : public testing::Test {
 protected:
  const Delta& after(const std::vector<Edit>& edits) {
    wanted_ = model_of(edited(edits));
    delta_ = diff(*running_, *wanted_);
    return delta_;
  }
  std::vector<std::string> words(const std::vector<Edit>& edits) {
    const Delta& delta = after(edits);
    EXPECT_THAT(delta.restart, IsEmpty());
    return describe(delta);
  }

  const std::shared_ptr<const Model> running_ = model_of(kBase);
  std::shared_ptr<const Model> wanted_ = running_;
  Delta delta_;
};

TEST_F(Diff, SameTextIsEmpty) {
  EXPECT_TRUE(after({}).empty());
  EXPECT_THAT(describe(delta_), IsEmpty());
}

TEST_F(Diff, OrderAndSpellingDoNotCount) {
  EXPECT_TRUE(after({{"\"10.255.0.1/24\", \"10.254.0.1/24\"", "\"10.254.0.1/24\", \"10.255.0.1/24\""},
                     {"\"10.2.0.0/16\", \"2001:db8:2::/48\"", "\"2001:db8:2::/48\", \"10.2.9.9/16\""},
                     {"name = \"paris\"", "name = \"paris\" # the same\nidle = \"adaptive\"\nworkers = [1, 2, 3]"}})
                  .empty());
}

TEST_F(Diff, WhereTheKeyStandsDoesNotCount) {
  const Scratch scratch;
  scratch.write("k", "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=");
  const std::string text =
      edited({{"private-key = \"dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\"", "private-key-file = \"k\""}});
  const Loaded loaded = load(scratch.write("f.toml", text), Machine{{0, 1, 2, 3}});
  ASSERT_TRUE(loaded.model);
  EXPECT_TRUE(diff(*running_, *loaded.model).empty());
}

// --- restart ---------------------------------------------------------------------------------------------------------

TEST_F(Diff, GatewayNeedsARestart) {
  EXPECT_THAT(
      after({{"name = \"paris\"", "name = \"lyon\"\nworkers = [2]\nidle = \"poll\"\nspread = false\nmemory = 64"}})
          .restart,
      ElementsAre("gateway: name \"paris\" -> \"lyon\"", "gateway: workers [1, 2, 3] -> [2]",
                  "gateway: idle \"adaptive\" -> \"poll\"", "gateway: spread true -> false",
                  "gateway: memory unset -> 64"));
}

TEST_F(Diff, PortsNeedARestart) {
  EXPECT_THAT(after({{"\"af_packet:wan0\"", "\"af_xdp:wan0\"\nmtu = 9000"}}).restart,
              ElementsAre("port wan: device \"af_packet:wan0\" -> \"af_xdp:wan0\"", "port wan: mtu 1500 -> 9000"));
  EXPECT_THAT(after({{"\"af_packet:wan0\"", "\"af_packet:wan0\"\nreverse-path-filter = \"strict\""}}).restart,
              ElementsAre("port wan: reverse-path-filter unset -> \"strict\""));
  EXPECT_THAT(after({{"\"af_packet:wan0\"", "\"af_packet:wan0\"\nsteering = \"off\""}}).restart,
              ElementsAre("port wan: steering unset -> \"off\""));
  EXPECT_THAT(after({{"name = \"wan\"", "name = \"outside\""}}).restart,
              ElementsAre("port wan removed", "port outside added"));
}

TEST_F(Diff, ComingAndGoingTunnelsNeedARestart) {
  EXPECT_THAT(after({{"\"wg0\"", "\"wg1\""}}).restart, ElementsAre("tunnel wg0 removed", "tunnel wg1 added"));
  EXPECT_THAT(delta_.tunnels, IsEmpty());
}

// --- live
// --------------------------------------------------------------------------------------------------------------

TEST_F(Diff, TunnelSettings) {
  EXPECT_THAT(words({{"private-key = \"dwdt", "private-key = \"awdt"}}),
              ElementsAre("tunnel wg0: private-key changed"));
  EXPECT_TRUE(delta_.tunnels.at(0).private_key);
  EXPECT_THAT(words({{"listen-port = 51820", "listen-port = 51821\nmtu = 1400\nmss-clamp = true\nroutes = \"off\""}}),
              ElementsAre("tunnel wg0: listen-port 51820 -> 51821", "tunnel wg0: mtu \"auto\" -> 1400",
                          "tunnel wg0: mss-clamp false -> true", "tunnel wg0: routes \"auto\" -> \"off\""));
  EXPECT_THAT(words({{"listen-port = 51820", "listen-port = 51820\ndscp = \"copy\"\npath-mtu-probe = true"}}),
              ElementsAre("tunnel wg0: path-mtu-probe false -> true", "tunnel wg0: dscp \"clear\" -> \"copy\""));
  EXPECT_TRUE(delta_.tunnels.at(0).dscp && delta_.tunnels.at(0).path_mtu_probe);
  EXPECT_THAT(words({{"listen-port = 51820", "listen-port = 51820\nfwmark = 5\nshared-allowed-ips = true"}}),
              ElementsAre("tunnel wg0: fwmark \"off\" -> 5", "tunnel wg0: shared-allowed-ips false -> true"));
  words({{"listen-port = 51820", "listen-port = 51821\nmtu = 1400\nmss-clamp = true\nroutes = \"off\""}});
  const TunnelChange& change = delta_.tunnels.at(0);
  EXPECT_TRUE(change.listen_port && change.mtu && change.mss_clamp && change.routes);
  EXPECT_FALSE(change.private_key || change.addresses || change.fwmark);
  EXPECT_THAT(change.changed, IsEmpty());
  EXPECT_THAT(words({{"\"10.254.0.1/24\"", "\"10.253.0.1/24\""}}),
              ElementsAre("tunnel wg0: addresses [\"10.255.0.1/24\", \"10.254.0.1/24\"] -> "
                          "[\"10.255.0.1/24\", \"10.253.0.1/24\"]"));
  EXPECT_THAT(words({{"listen-port", "fwmark = 5\nlisten-port"}}), ElementsAre("tunnel wg0: fwmark \"off\" -> 5"));
}

TEST_F(Diff, PeersComeAndGo) {
  EXPECT_THAT(words({{"3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=", "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="},
                     {"private-key = \"dwdt", "private-key = \"awdt"}}),
              ElementsAre("tunnel wg0: private-key changed", "tunnel wg0: peer berlin removed",
                          "tunnel wg0: peer berlin added"));
  const TunnelChange& change = delta_.tunnels.at(0);
  EXPECT_THAT(change.removed, ElementsAre(&running_->tunnels[0].peers[0]));
  EXPECT_THAT(change.added, ElementsAre(&wanted_->tunnels[0].peers[0]));
  EXPECT_THAT(change.changed, IsEmpty());
}

TEST_F(Diff, PeersChange) {
  EXPECT_THAT(words({{"\"vpn.berlin.example:51820\"", "\"[2001:db8::7]:51820\"\npersistent-keepalive = 25"},
                     {"\"10.2.0.0/16\", ", ""},
                     {"\"oslo\"", "\"bergen\""},
                     {"preshared-key = \"AAEC", "preshared-key = \"BAEC"}}),
              ElementsAre("tunnel wg0: peer berlin: endpoint \"vpn.berlin.example:51820\" -> \"[2001:db8::7]:51820\"",
                          "tunnel wg0: peer berlin: allowed-ips [\"10.2.0.0/16\", \"2001:db8:2::/48\"] -> "
                          "[\"2001:db8:2::/48\"]",
                          "tunnel wg0: peer berlin: persistent-keepalive \"off\" -> 25",
                          "tunnel wg0: peer bergen: name \"oslo\" -> \"bergen\"",
                          "tunnel wg0: peer bergen: preshared-key changed"));
  const TunnelChange& change = delta_.tunnels.at(0);
  ASSERT_EQ(change.changed.size(), 2u);
  EXPECT_TRUE(change.changed[0].endpoint && change.changed[0].allowed_ips && change.changed[0].persistent_keepalive);
  EXPECT_FALSE(change.changed[0].name || change.changed[0].preshared_key);
  EXPECT_THAT(change.added, IsEmpty());
  EXPECT_THAT(change.removed, IsEmpty());
}

TEST_F(Diff, AnUntouchedPeerIsNotListed) {
  EXPECT_THAT(words({{"preshared-key = ", "# preshared-key = "}}),
              ElementsAre("tunnel wg0: peer oslo: preshared-key changed"));
  EXPECT_EQ(delta_.tunnels.at(0).changed.size(), 1u);
}

TEST_F(Diff, Routes) {
  EXPECT_THAT(words({{"\"0.0.0.0/0\"", "\"10.0.0.0/8\""}}),
              ElementsAre("route 0.0.0.0/0 via 198.51.100.1 removed", "route 10.0.0.0/8 via 198.51.100.1 added"));
}

}  // namespace
}  // namespace sluice::config
