// Loading: what a good file means, and for each kind of mistake the exact line that an operator reads.
#include "config/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "config/keys.h"
#include "tests/unit/config/scratch.h"

namespace sluice::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

const Machine kFourCores{{0, 1, 2, 3}};

// RFC 7748, section 6.1: Alice's and Bob's keys.
constexpr std::string_view kAlicePrivate = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
constexpr std::string_view kAlicePublic = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
constexpr std::string_view kBobPublic = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";

std::vector<std::string> texts(const std::vector<Diagnostic>& found) {
  std::vector<std::string> result;
  for (const Diagnostic& diagnostic : found) result.push_back(to_string(diagnostic));
  return result;
}

std::vector<std::string> errors_of(std::string_view toml) { return texts(load_text(toml, "f", kFourCores).errors); }

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

// A file without mistakes, line by line, to break in one place at a time.
constexpr std::string_view kGood = R"([gateway]
name = "paris"
workers = [2, 3]

[[port]]
name = "wan"
device = "af_packet:wan0"
addresses = ["198.51.100.10/24", "2001:db8::10/64"]

[[port]]
name = "lan"
device = "pci:0000:3b:00.1"
addresses = ["10.1.0.1/16"]

[[route]]
to = "0.0.0.0/0"
via = "198.51.100.1"

[[tunnel]]
name = "wg0"
private-key = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo="
listen-port = 51820
addresses = ["10.255.0.1/24"]

[[tunnel.peer]]
name = "berlin"
public-key = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="
endpoint = "vpn.berlin.example:51820"
allowed-ips = ["10.2.0.0/16", "2001:db8:2::/48"]

[[tunnel.peer]]
name = "oslo"
public-key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
allowed-ips = ["10.3.0.0/16"]
)";

std::vector<std::string> errors_with(std::string_view from, std::string_view to) {
  return errors_of(replaced(std::string(kGood), from, to));
}

TEST(Load, MakesValuesOfEveryField) {
  const Scratch scratch;
  scratch.write("wg0.key", std::string(kAlicePrivate) + "\n");
  const Loaded loaded = load(scratch.write("paris.toml", R"(
[gateway]
name = "paris"
workers = [2, 3]
idle = "poll"
spread = false
engine = "sodium"
hugepages = "off"
memory = 512
run-directory = "/run/elsewhere/"
[[port]]
name = "wan"
device = "pci:3B:00.0"
devargs = "a=1,b=2"
addresses = ["198.51.100.10/24", "2001:db8::10/64"]
mtu = 9000
queues = 4
steering = "off"
reverse-path-filter = "loose"
[[route]]
to = "10.9.8.7/8"
via = "198.51.100.1"
dev = "wan"
[[tunnel]]
name = "wg0"
private-key-file = "wg0.key"
listen-port = 51820
addresses = ["10.255.0.1/24"]
mtu = 1400
mss-clamp = true
path-mtu-probe = true
dscp = 46
routes = "off"
fwmark = 0xca6c
[[tunnel.peer]]
name = "berlin"
public-key = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="
preshared-key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
endpoint = "[2001:db8::7]:51821"
allowed-ips = ["10.2.3.4/16", "192.0.2.1"]
persistent-keepalive = 25
)"),
                             kFourCores);
  ASSERT_THAT(texts(loaded.errors), IsEmpty());
  const Gateway& gateway = loaded.model->gateway;
  EXPECT_EQ(gateway.name, "paris");
  EXPECT_THAT(gateway.workers, ElementsAre(2, 3));
  EXPECT_EQ(gateway.idle, Idle::kPoll);
  EXPECT_FALSE(gateway.spread);
  EXPECT_EQ(gateway.engine, "sodium");
  EXPECT_EQ(gateway.hugepages, Hugepages::kOff);
  EXPECT_EQ(gateway.memory, 512u);
  EXPECT_EQ(gateway.socket_path(), "/run/elsewhere/paris.sock");

  const Port& port = loaded.model->ports.at(0);
  EXPECT_EQ(port.name, "wan");
  EXPECT_EQ(to_string(port.device), "pci:0000:3b:00.0");
  EXPECT_EQ(port.devargs, "a=1,b=2");
  ASSERT_EQ(port.addresses.size(), 2u);
  EXPECT_EQ(sluice::to_string(port.addresses[1]), "2001:db8::10/64");
  EXPECT_EQ(port.mtu, 9000);
  EXPECT_EQ(port.reverse_path_filter, ReversePathFilter::kLoose);
  EXPECT_EQ(port.queues, 4);
  EXPECT_EQ(port.steering, Steering::kOff);
  EXPECT_EQ(to_string(loaded.model->routes.at(0)), "10.0.0.0/8 via 198.51.100.1 dev wan");

  const Tunnel& tunnel = loaded.model->tunnels.at(0);
  EXPECT_EQ(to_base64(public_key_of(tunnel.private_key).bytes), kAlicePublic);
  EXPECT_EQ(tunnel.private_key_file, "wg0.key");
  EXPECT_EQ(tunnel.listen_port, 51820);
  EXPECT_EQ(tunnel.mtu, 1400);
  EXPECT_TRUE(tunnel.path_mtu_probe);
  EXPECT_EQ(tunnel.dscp, 46);
  EXPECT_TRUE(tunnel.mss_clamp);
  EXPECT_EQ(tunnel.routes, RouteInstall::kOff);
  EXPECT_EQ(tunnel.fwmark, 0xca6cu);

  const Peer& peer = tunnel.peers.at(0);
  EXPECT_EQ(peer.display_name(), "berlin");
  EXPECT_EQ(to_base64(peer.public_key.bytes), kBobPublic);
  EXPECT_FALSE(peer.preshared_key.is_zero());
  EXPECT_EQ(peer.endpoint, (HostPort{"2001:db8::7", 51821}));
  EXPECT_EQ(to_string(*peer.endpoint), "[2001:db8::7]:51821");
  ASSERT_EQ(peer.allowed_ips.size(), 2u);
  EXPECT_EQ(sluice::to_string(peer.allowed_ips[0]), "10.2.0.0/16");
  EXPECT_EQ(sluice::to_string(peer.allowed_ips[1]), "192.0.2.1/32");
  EXPECT_EQ(peer.persistent_keepalive, 25);
}

TEST(Load, FillsInDefaults) {
  const Loaded loaded = load_text("[[port]]\nname = \"wan\"\ndevice = \"null\"\n", "f", kFourCores);
  ASSERT_TRUE(loaded.model);
  EXPECT_EQ(loaded.model->gateway.name, "sluice");
  EXPECT_THAT(loaded.model->gateway.workers, ElementsAre(1, 2, 3));
  EXPECT_EQ(loaded.model->gateway.idle, Idle::kAdaptive);
  EXPECT_TRUE(loaded.model->gateway.spread);
  EXPECT_EQ(loaded.model->ports[0].mtu, 1500);
}

TEST(Load, UsesTheOnlyCore) {
  const Loaded loaded = load_text("[[port]]\nname = \"wan\"\ndevice = \"null\"\n", "f", Machine{{0}});
  ASSERT_TRUE(loaded.model);
  EXPECT_THAT(loaded.model->gateway.workers, ElementsAre(0));
}

TEST(Load, KeysAreClamped) {
  const Loaded loaded = load_text(kGood, "f", kFourCores);
  ASSERT_THAT(texts(loaded.errors), IsEmpty());
  const auto key = loaded.model->tunnels[0].private_key.bytes();
  EXPECT_EQ(std::to_integer<int>(key[0]) & 7, 0);
  EXPECT_EQ(std::to_integer<int>(key[31]) & 0xc0, 0x40);
}

// --- form ------------------------------------------------------------------------------------------------------------

TEST(LoadErrors, BadToml) { EXPECT_THAT(errors_of("[gateway\n"), ElementsAre(StartsWith("f:1:9: "))); }

TEST(LoadErrors, EmptyFile) {
  EXPECT_THAT(errors_of(""), ElementsAre("f: there is nothing to do: give at least one [[port]] or [[tunnel]]"));
}

struct Mistake {
  std::string_view from, to, error;
};

// Each row breaks kGood in one place; the error is exactly this one line.
class Mistakes : public testing::TestWithParam<Mistake> {};

TEST_P(Mistakes, AreReportedWhereTheyStand) {
  EXPECT_THAT(errors_with(GetParam().from, GetParam().to), ElementsAre(GetParam().error));
}

INSTANTIATE_TEST_SUITE_P(
    Form, Mistakes,
    testing::Values(
        Mistake{"[gateway]", "colour = 1\n[gateway]",
                "f:1:1: colour: unknown key; known here: gateway, port, route, tunnel"},
        Mistake{"workers =", "wrokers =", "f:3:1: gateway.wrokers: unknown key; did you mean `workers`?"},
        Mistake{"listen-port", "ListenPort", "f:22:1: tunnel.ListenPort: unknown key; did you mean `listen-port`?"},
        Mistake{"allowed-ips", "AllowedIPs",
                "f:29:1: tunnel.peer.AllowedIPs: unknown key; did you mean `allowed-ips`?"},
        Mistake{"endpoint =", "\"end\\npoint\" =",
                "f:28:1: tunnel.peer.\"end\\u000apoint\": unknown key; did you mean `endpoint`?"},
        Mistake{"name = \"wan\"\n", "", "f:5:1: port.name: is missing"},
        Mistake{"\"paris\"", "5", "f:2:8: gateway.name: is an integer; allowed: a string in quotes"},
        Mistake{"\"paris\"", "\"a/b\"",
                "f:2:8: gateway.name: \"a/b\" is no gateway name: 1..63 letters, digits, `.`, `_`, `-`, not starting "
                "with a dot"},
        Mistake{"[2, 3]", "2", "f:3:11: gateway.workers: is an integer; write a list in [ ]"},
        Mistake{"[2, 3]", "[2, \"3\"]", "f:3:15: gateway.workers: \"3\" is a string; allowed: 0..4095"},
        Mistake{"[2, 3]", "[2, -1]", "f:3:15: gateway.workers: -1 is out of range; allowed: 0..4095"},
        Mistake{"workers = [2, 3]", "idle = \"adaptve\"",
                "f:3:8: gateway.idle: \"adaptve\" is not known; allowed: \"poll\" or \"adaptive\""},
        Mistake{"workers = [2, 3]", "run-directory = \"run\"",
                "f:3:17: gateway.run-directory: \"run\" is not an absolute path, like /run/sluice"},
        Mistake{"\"wan\"", "\"a-name-too-long-\"",
                "f:6:8: port.name: \"a-name-too-long-\" is no name for a Linux interface: 1..15 characters without "
                "space, `/` and `:`"},
        Mistake{"\"wan\"", "\"lo\"", "f:6:8: port.name: \"lo\" is taken by Linux itself; choose another"},
        Mistake{"pci:0000:3b:00.1", "pci:3b",
                "f:12:10: port.device: \"pci:3b\" is not a PCI address like pci:0000:3b:00.0; `lspci -D` lists them"},
        Mistake{"pci:0000:3b:00.1", "afpacket:lan0",
                "f:12:10: port.device: \"afpacket:lan0\" is no device; did you mean `af_packet`?; allowed: "
                "pci:0000:3b:00.0, af_packet:IF, af_xdp:IF, memif:/PATH, vhost:/PATH, virtio_user:/PATH, tap:NAME, "
                "ring:NAME, pcap:IN,OUT, null, or a DPDK device's own name as net_NAME"},
        Mistake{"pci:0000:3b:00.1", "tun",
                "f:12:10: port.device: \"tun\" belongs to drop-in mode (`sluiced IF`) and is no port of a gateway"},
        Mistake{"pci:0000:3b:00.1", "af_xdp:",
                "f:12:10: port.device: \"af_xdp:\" does not name a Linux interface; write it like af_packet:eth1"},
        Mistake{"pci:0000:3b:00.1", "memif:x",
                "f:12:10: port.device: \"memif:x\" needs the absolute path of a socket, like memif:/run/x.sock"},
        Mistake{"10.1.0.1/16", "10.1.0.1",
                "f:13:14: port.addresses: \"10.1.0.1\" has no prefix length; write it like 192.0.2.1/24"},
        Mistake{"10.1.0.1/16", "10.1.0.1/33",
                "f:13:14: port.addresses: \"10.1.0.1/33\" is no address with prefix length, like 192.0.2.1/24 or "
                "2001:db8::1/64"},
        Mistake{"\"10.1.0.1/16\"]", "\"10.1.0.1/16\"]\nmtu = 1000",
                "f:14:7: port.mtu: 1000 is out of range; allowed: 1280..9216"},
        Mistake{"\"10.1.0.1/16\"]", "\"10.1.0.1/16\"]\nmtu = 1500.0",
                "f:14:7: port.mtu: is a fraction; allowed: 1280..9216"},
        Mistake{"0.0.0.0/0", "default",
                "f:16:6: route.to: \"default\" leaves the family open; write 0.0.0.0/0 or ::/0"},
        Mistake{"198.51.100.1\"", "gateway\"",
                "f:17:7: route.via: \"gateway\" is no router's address, like 192.0.2.1 or fe80::1"}));

INSTANTIATE_TEST_SUITE_P(
    FormOfTunnels, Mistakes,
    testing::Values(
        Mistake{"listen-port = 51820", "listen-port = 65536",
                "f:22:15: tunnel.listen-port: 65536 is out of range; allowed: 0..65535"},
        Mistake{"listen-port = 51820", "mss-clamp = \"yes\"",
                "f:22:13: tunnel.mss-clamp: is a string; allowed: true or false, without quotes"},
        Mistake{"listen-port = 51820", "mtu = \"none\"",
                "f:22:7: tunnel.mtu: \"none\" is a string; allowed: 1280..9156 or \"auto\""},
        Mistake{"listen-port = 51820", "dscp = 64",
                "f:22:8: tunnel.dscp: 64 is out of range; allowed: 0..63 or \"copy\" or \"clear\""},
        Mistake{"listen-port = 51820", "routes = \"on\"",
                "f:22:10: tunnel.routes: \"on\" is not known; allowed: \"auto\" or \"off\""},
        Mistake{"listen-port = 51820", "fwmark = 4294967296",
                "f:22:10: tunnel.fwmark: 4294967296 is out of range; allowed: 0..4294967295 or \"off\""},
        Mistake{"private-key =", "# private-key =",
                "f:19:1: tunnel.private-key-file: is missing; make a key with `sluice genkey`, or give private-key"},
        Mistake{"private-key = \"dw", "private-key = \"",
                "f:21:15: tunnel.private-key: not a key: 44 characters of base64, as `sluice genkey` prints them"},
        Mistake{"dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                "f:21:15: tunnel.private-key: the all-zero key is no private key"},
        Mistake{"listen-port = 51820", "private-key-file = \"k\"",
                "f:22:20: tunnel.private-key-file: stands beside private-key; give one of them"},
        Mistake{"3p7bfXt9", "3p7bfXt",
                "f:27:14: tunnel.peer.public-key: \"3p7bfXtwbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\" is no public key: 44 "
                "characters of base64, as `sluice pubkey` prints them"},
        Mistake{
            "vpn.berlin.example:51820", "vpn.berlin.example",
            "f:28:12: tunnel.peer.endpoint: \"vpn.berlin.example\" has no port; write it like vpn.example.net:51820"},
        Mistake{"vpn.berlin.example:51820", "vpn.berlin.example:0",
                "f:28:12: tunnel.peer.endpoint: \"vpn.berlin.example:0\" must end in a port, 1..65535"},
        Mistake{"vpn.berlin.example:51820", "2001:db8::1:51820",
                "f:28:12: tunnel.peer.endpoint: \"2001:db8::1:51820\" needs brackets around the IPv6 address, like "
                "[2001:db8::1]:51820"},
        Mistake{"vpn.berlin.example:51820", "256.1.1.1:51820",
                "f:28:12: tunnel.peer.endpoint: \"256.1.1.1:51820\" is no endpoint, like vpn.example.net:51820, "
                "192.0.2.1:51820 or [2001:db8::1]:51820"},
        Mistake{
            "2001:db8:2::/48", "2001:db8:2::/129",
            "f:29:31: tunnel.peer.allowed-ips: \"2001:db8:2::/129\" is no prefix, like 10.2.0.0/16 or 2001:db8:2::/48"},
        Mistake{"endpoint =", "persistent-keepalive = \"on\"\nendpoint =",
                "f:28:24: tunnel.peer.persistent-keepalive: \"on\" is a string; allowed: 0..65535 or \"off\""},
        Mistake{"endpoint =", "persistent-keepalive = 65536\nendpoint =",
                "f:28:24: tunnel.peer.persistent-keepalive: 65536 is out of range; allowed: 0..65535 or \"off\""}));

// --- rules over several fields
// -----------------------------------------------------------------------------------------

INSTANTIATE_TEST_SUITE_P(
    Rules, Mistakes,
    testing::Values(
        Mistake{"[2, 3]", "[2, 4]", "f:3:15: gateway.workers: core 4 does not exist or is not ours; allowed: 0-3"},
        Mistake{"[2, 3]", "[2, 2]", "f:3:15: gateway.workers: core 2 is there twice; one worker runs on a core"},
        Mistake{"name = \"lan\"", "name = \"wan\"",
                "f:11:8: port.name: \"wan\" is taken, as in line 6; ports and tunnels are Linux interfaces and need "
                "names of their own"},
        Mistake{"name = \"wg0\"", "name = \"lan\"",
                "f:20:8: tunnel.name: \"lan\" is taken, as in line 11; ports and tunnels are Linux interfaces and need "
                "names of their own"},
        Mistake{"name = \"lan\"", "name = \"wan0\"",
                "f:11:8: port.name: \"wan0\" is the kernel interface that a port's device uses; the gateway's own "
                "interface needs another name"},
        Mistake{"pci:0000:3b:00.1", "af_xdp:wan0",
                "f:12:10: port.device: \"wan0\" is in use by another port, as in line 7"},
        Mistake{"device = \"pci:0000:3b:00.1\"", "",
                "f:10:1: port.device: is missing; or give members (several devices "
                "that are one port), or parent and vlan"},
        Mistake{"device = \"pci:0000:3b:00.1\"", "parent = \"wan\"",
                "f:12:10: port.vlan: is missing; say which VLAN of wan the port is"},
        Mistake{"device = \"pci:0000:3b:00.1\"", "vlan = 7\nparent = \"wam\"",
                "f:13:10: port.parent: \"wam\" is no port of this file"},
        Mistake{
            "device = \"pci:0000:3b:00.1\"", "vlan = 7\nparent = \"lan\"",
            "f:13:10: port.parent: lan is a VLAN itself; allowed: a port with a device or members, and without vlan"},
        Mistake{"device = \"pci:0000:3b:00.1\"", "vlan = 7\nparent = \"wan\"\nmtu = 1600",
                "f:14:7: port.mtu: 1600 is more than that of its parent, 1500"},
        Mistake{"device = \"pci:0000:3b:00.1\"", "vlan = 7\nparent = \"wan\"\nqueues = 2",
                "f:14:10: port.queues: belongs to the parent, wan"},
        Mistake{"device = \"pci:0000:3b:00.1\"", "vlan = 7\nparent = \"wan\"\nsteering = \"off\"",
                "f:14:12: port.steering: belongs to the parent, wan"},
        Mistake{"device = \"pci:0000:3b:00.1\"",
                "vlan = 7\nparent = \"wan\"\n[[port]]\nname = \"third\"\nparent = \"wan\"\nvlan = 7",
                "f:17:8: port.vlan: 7 of wan is another port, as in line 12"},
        Mistake{"device = \"pci:0000:3b:00.1\"", "device = \"null\"\nmembers = [\"null\", \"null\"]",
                "f:10:1: port: has more than one of device, members and parent; give one of them"},
        Mistake{"device = \"pci:0000:3b:00.1\"", "members = [\"null\"]",
                "f:12:11: port.members: 1 devices; allowed: 2..8"},
        Mistake{"device = \"pci:0000:3b:00.1\"", "members = [\"null\", \"af_packet:wan0\"]",
                "f:12:20: port.members: \"wan0\" is in use by another port, as in line 7"},
        Mistake{"device = \"pci:0000:3b:00.1\"", "device = \"null\"\nbond = \"lacp\"",
                "f:13:8: port.bond: is for ports with members"},
        Mistake{"10.1.0.1/16", "198.51.100.10/25",
                "f:13:14: port.addresses: 198.51.100.10 is there twice, as in line 8"},
        Mistake{"via = \"198.51.100.1\"", "", "f:15:1: route: leads nowhere; give via, dev or both"},
        Mistake{"via = \"198.51.100.1\"", "dev = \"eth0\"",
                "f:17:7: route.dev: \"eth0\" is no port or tunnel of this file"},
        Mistake{"\"198.51.100.1\"", "\"2001:db8::1\"",
                "f:17:7: route.via: 2001:db8::1 is not of the family of 0.0.0.0/0"},
        Mistake{"\"198.51.100.1\"", "\"198.51.100.10\"",
                "f:17:7: route.via: 198.51.100.10 is the gateway's own address; allowed: another router's"},
        Mistake{"0.0.0.0/0\"\nvia = \"198.51.100.1\"", "::/0\"\nvia = \"fe80::1\"",
                "f:17:7: route.via: fe80::1 is link-local; say by dev on which link"},
        Mistake{"[[route]]", "[[route]]\nto = \"0.0.0.0/0\"\nvia = \"198.51.100.1\"\n[[route]]",
                "f:19:6: route.to: 0.0.0.0/0 via 198.51.100.1 is there twice, as in line 16"},
        Mistake{"listen-port = 51820", "mtu = 1441",
                "f:22:7: tunnel.mtu: 1441 is too large: the largest port MTU, 1500, leaves 1440 over IPv4 and 1420 "
                "over IPv6"},
        Mistake{"3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=", kAlicePublic,
                "f:27:14: tunnel.peer.public-key: is the tunnel's own key; give the other side's"},
        Mistake{"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", kBobPublic,
                "f:33:14: tunnel.peer.public-key: is another peer's of this tunnel, as in line 27"},
        Mistake{"\"oslo\"", "\"berlin\"",
                "f:32:8: tunnel.peer.name: \"berlin\" is another peer's of this tunnel, as in line 26"},
        Mistake{"10.3.0.0/16", "10.2.3.4/16",
                "f:34:16: tunnel.peer.allowed-ips: 10.2.0.0/16 is in this tunnel twice, as in line 29; a prefix leads "
                "to one peer, or with shared-allowed-ips = true to that which a route names"},
        Mistake{"[[tunnel]]",
                "[[tunnel]]\nname = \"wg1\"\nprivate-key = "
                "\"3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\"\nlisten-port = 51820\n[[tunnel]]",
                "f:26:15: tunnel.listen-port: 51820 is in use by another tunnel, as in line 22"}));

TEST(LoadErrors, SocketPathTooLong) {
  EXPECT_THAT(
      errors_with("workers = [2, 3]", "run-directory = \"/" + std::string(100, 'r') + "\""),
      ElementsAre("f:3:17: gateway.run-directory: makes a socket path of more than 107 characters with the name"));
}

TEST(LoadErrors, SingleTableForAnArray) {
  EXPECT_THAT(errors_of("[port]\nname = \"wan\"\n[[tunnel.peer]]\n"),
              ElementsAre("f:1:1: port: is a table; write [[port]], one block for each",
                          "f:3:1: tunnel: is a table; write [[tunnel]], one block for each"));
}

TEST(LoadErrors, AllAtOnceInFileOrder) {
  EXPECT_THAT(
      errors_of(R"([gateway]
workers = [1, 1, 9]
[[tunnel]]
name = "wg0"
private-key = "secret"
colour = "red"
listen-port = -1
[[tunnel.peer]]
public-key = "x"
allowed-ips = ["10.0.0.0/8", "10.0.0.0/99", "10.1.2.3/8"]
)"),
      ElementsAre(StartsWith("f:2:15: gateway.workers: core 1 is there twice"),
                  StartsWith("f:2:18: gateway.workers: core 9 does not exist"),
                  StartsWith("f:5:15: tunnel.private-key: not a key"), StartsWith("f:6:1: tunnel.colour: unknown key"),
                  StartsWith("f:7:15: tunnel.listen-port: -1 is out of range"),
                  StartsWith("f:9:14: tunnel.peer.public-key: \"x\" is no public key"),
                  StartsWith("f:10:30: tunnel.peer.allowed-ips: \"10.0.0.0/99\" is no prefix"),
                  StartsWith("f:10:45: tunnel.peer.allowed-ips: 10.0.0.0/8 is in this tunnel twice, as in line 10")));
}

TEST(LoadErrors, NeverRepeatSecretsOrBreakLines) {
  const std::string unquoted = replaced(std::string(kGood), "\"dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\"",
                                        "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=");
  const std::string mistyped =
      replaced(std::string(kGood),
               "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=", "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo");
  for (const std::string& text : {unquoted, mistyped}) {
    const auto errors = errors_of(text);
    ASSERT_EQ(errors.size(), 1u);
    EXPECT_THAT(errors[0], StartsWith("f:21:"));
    EXPECT_THAT(errors[0], Not(HasSubstr("Mnp")));
    EXPECT_THAT(errors[0], Not(HasSubstr("dwdtCn")));
    EXPECT_THAT(errors[0], Not(HasSubstr("\n")));
  }
}

// --- warnings
// ----------------------------------------------------------------------------------------------------------

TEST(LoadWarnings, UnreachableRouter) {
  const Loaded loaded = load_text(replaced(std::string(kGood), "\"198.51.100.1\"", "\"203.0.113.1\""), "f", kFourCores);
  EXPECT_TRUE(loaded.model);
  EXPECT_THAT(texts(loaded.warnings),
              ElementsAre("f:17:7: route.via: 203.0.113.1 is in no network of any port or tunnel"));
}

TEST(LoadWarnings, MtuTooLargeForIpv6) {
  const std::string ipv6 = replaced(std::string(kGood), "vpn.berlin.example:51820", "[2001:db8::7]:51820");
  EXPECT_THAT(texts(load_text(ipv6, "f", kFourCores).warnings), IsEmpty());
  EXPECT_THAT(texts(load_text(replaced(ipv6, "listen-port = 51820", "mtu = 1440"), "f", kFourCores).warnings),
              ElementsAre(StartsWith("f:22:7: tunnel.mtu: 1440 is too large")));
}

TEST(LoadWarnings, KeyInAFileThatOthersRead) {
  const Scratch scratch;
  EXPECT_THAT(texts(load(scratch.write("closed.toml", kGood, 0600), kFourCores).warnings), IsEmpty());
  const std::string open = scratch.write("open.toml", kGood, 0640);
  const Loaded loaded = load(open, kFourCores);
  EXPECT_TRUE(loaded.model);
  EXPECT_THAT(texts(loaded.warnings),
              ElementsAre(StartsWith(open + ":21:15: tunnel.private-key: a key stands in a file")));
}

// --- files
// -------------------------------------------------------------------------------------------------------------

class KeyFiles : public testing::Test {
 protected:
  std::vector<std::string> errors() const {
    const std::string toml = replaced(std::string(kGood), "private-key = \"" + std::string(kAlicePrivate) + "\"",
                                      "private-key-file = \"k\"");
    return texts(load(scratch_.write("f.toml", toml), kFourCores).errors);
  }
  std::string at() const { return scratch_.path("f.toml") + ":21:20: tunnel.private-key-file: "; }
  std::string file() const { return scratch_.path("k"); }
  const Scratch scratch_;
};

TEST_F(KeyFiles, Good) {
  scratch_.write("k", "  " + std::string(kAlicePrivate) + "\r\n\n", 0400);
  EXPECT_THAT(errors(), IsEmpty());
}

TEST_F(KeyFiles, Missing) {
  EXPECT_THAT(errors(),
              ElementsAre(at() + "cannot open key file " + file() +
                          ": No such file or directory; `umask 077; sluice genkey > " + file() + "` makes one"));
}

TEST_F(KeyFiles, OpenToOthers) {
  for (const unsigned mode : {0644u, 0640u, 0604u, 0620u}) {
    scratch_.write("k", kAlicePrivate, mode);
    EXPECT_THAT(errors(),
                ElementsAre(testing::AllOf(StartsWith(at() + "key file " + file() + " is open to others (mode 06"),
                                           testing::EndsWith("; `chmod 600 " + file() + "`"))));
  }
}

TEST_F(KeyFiles, NoKeyInside) {
  const std::string error =
      at() + "key file " + file() + ": not a key: 44 characters of base64, as `sluice genkey` prints them";
  for (const std::string& text : {std::string(), std::string(kAlicePrivate.substr(1)), std::string(5000, ' '),
                                  std::string(kAlicePrivate) + "\n" + std::string(kAlicePrivate)}) {
    scratch_.write("k", text);
    EXPECT_THAT(errors(), ElementsAre(error));
  }
}

TEST_F(KeyFiles, NotARegularFile) {
  ASSERT_EQ(mkfifo(file().c_str(), 0600), 0);
  EXPECT_THAT(errors(), ElementsAre(at() + "key file " + file() + " is not a regular file"));
}

TEST(LoadFile, MissingOrNoFile) {
  const Scratch scratch;
  const std::string path = scratch.path("none.toml");
  EXPECT_THAT(texts(load(path, kFourCores).errors),
              ElementsAre(path + ": cannot open the configuration: No such file or directory"));
  EXPECT_THAT(texts(load(scratch.path(""), kFourCores).errors),
              ElementsAre(scratch.path("") + ": is a directory; give a file"));
}

// Every example, beside the key files that it names.
class Examples : public testing::TestWithParam<std::string> {};

TEST_P(Examples, Load) {
  const Scratch scratch;
  const std::string file = scratch.path("gateway.toml");
  std::filesystem::copy_file(std::string(SLUICE_EXAMPLES) + "/" + GetParam(), file);
  scratch.write("wg0.key", kAlicePrivate);
  scratch.write("berlin.psk", kAlicePrivate);
  const Loaded loaded = load(file, kFourCores);
  EXPECT_THAT(texts(loaded.errors), IsEmpty());
  EXPECT_THAT(texts(loaded.warnings), IsEmpty());
  ASSERT_TRUE(loaded.model);
  EXPECT_EQ(loaded.model->tunnels.at(0).name, "wg0");
}

std::vector<std::string> example_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(SLUICE_EXAMPLES))
    names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, Examples, testing::ValuesIn(example_names()), [](const auto& example) {
  std::string name = example.param;
  std::ranges::replace_if(
      name, [](char c) { return c == '.' || c == '-'; }, '_');
  return name;
});

}  // namespace
}  // namespace sluice::config
