#include "control/linux/mirror.h"

#include <net/if.h>
#include <unistd.h>

#include <fstream>

#include "dataplane/wire/ip.h"
#include "tests/system/linux/netns.h"
#include "tests/unit/linux/sketch.h"

namespace sluice {
namespace {

using namespace test;

struct ArpPacket {  // RFC 826 over Ethernet for IPv4
  EthernetHeader ethernet;
  be16 hardware, protocol;
  uint8_t hardware_size, protocol_size;
  be16 operation;
  std::array<uint8_t, 6> sender_mac;
  std::array<uint8_t, 4> sender;
  std::array<uint8_t, 6> target_mac;
  std::array<uint8_t, 4> target;
};
static_assert(sizeof(ArpPacket) == 42);

template <class T>
ConstBytes bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

class MirrorTest : public NetnsTest {
 protected:
  Mirror port(const std::string& name) {
    auto made = Mirror::create_port(*netlink_, name, kWanMac, 1500);
    EXPECT_TRUE(made) << made.error().what;
    return std::move(*made);
  }
  void configure(const Mirror& mirror, std::string_view address) {
    const auto added = netlink_->add_address(mirror.link(), *parse_interface_address(address));
    EXPECT_TRUE(added) << added.error().what;
    const auto up = netlink_->set_link(mirror.link(), {.up = true});
    EXPECT_TRUE(up) << up.error().what;
  }

  // The next packet Linux sends for which `wanted` holds; others (router solicitations, MLD) are passed over.
  template <class Wanted>
  std::optional<std::vector<std::byte>> receive(Mirror& mirror, Wanted wanted) {
    for (int i = 0; i < 50 && readable(mirror.fd(), std::chrono::seconds(5)); ++i) {
      std::vector<std::byte> packet(2048);
      while (const auto size = mirror.read(packet)) {
        if (wanted(ConstBytes(packet).first(*size))) {
          packet.resize(*size);
          return packet;
        }
      }
    }
    return std::nullopt;
  }
  std::optional<ArpPacket> receive_arp(Mirror& mirror) {
    const auto frame = receive(mirror, [](ConstBytes b) {
      return b.size() >= sizeof(ArpPacket) &&
             reinterpret_cast<const ArpPacket*>(b.data())->ethernet.ether_type.host() == kEtherTypeArp;
    });
    if (!frame) return std::nullopt;
    ArpPacket arp;
    std::memcpy(&arp, frame->data(), sizeof arp);
    return arp;
  }
};

TEST_F(MirrorTest, APortsMirrorIsMadeDownWithItsMacAndMtuAndGoesWithItsDescriptor) {
  {
    auto made = Mirror::create_port(*netlink_, "wan", kWanMac, 9000);
    ASSERT_TRUE(made) << made.error().what;
    ASSERT_TRUE(eventually([&] { return model_.link("wan") != nullptr; }));
    EXPECT_EQ(*model_.link("wan"), (Link{made->index(), "wan", false, 9000, kWanMac}));
    const std::string shown = ip("-d link show dev wan");
    EXPECT_NE(shown.find("tun type tap"), std::string::npos) << shown;
    EXPECT_NE(shown.find("qlen 1000"), std::string::npos) << shown;
    ASSERT_TRUE(netlink_->set_link(made->link(), {.up = true}));
    EXPECT_TRUE(eventually([&] { return model_.link("wan")->up; }));
  }
  EXPECT_TRUE(eventually([&] { return model_.link("wan") == nullptr; }));
}

TEST_F(MirrorTest, ACarrierThatIsGoneIsLinuxsToSee) {
  Mirror wan = port("wan");
  ASSERT_TRUE(netlink_->set_link(wan.link(), {.up = true}));
  EXPECT_EQ(ip("link show dev wan").find("NO-CARRIER"), std::string::npos);
  ASSERT_TRUE(wan.set_carrier(false));
  EXPECT_NE(ip("link show dev wan").find("NO-CARRIER"), std::string::npos);
  ASSERT_TRUE(wan.set_carrier(true));
  EXPECT_EQ(ip("link show dev wan").find("NO-CARRIER"), std::string::npos);
}

TEST_F(MirrorTest, ATakenNameSaysSo) {
  const Mirror first = port("wan");
  const auto second = Mirror::create_port(*netlink_, "wan", kLanMac, 1500);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().what, "interface wan exists already: choose another name or remove it (ip link del wan)");
  const auto loopback = Mirror::create_tunnel(*netlink_, "lo", 1420);
  ASSERT_FALSE(loopback);
  EXPECT_EQ(loopback.error().what, "interface lo exists already: choose another name or remove it (ip link del lo)");
}

TEST_F(MirrorTest, BadNamesAreRefusedAndNothingIsMade) {
  const std::string before = ip("-br link");
  for (const char* name : {"", "sixteen-letters-", "a/b", "wan%d", "a b", "."}) {
    const auto made = Mirror::create_port(*netlink_, name, kWanMac, 1500);
    EXPECT_FALSE(made) << name;
  }
  const auto huge = Mirror::create_port(*netlink_, "wan", kWanMac, 90000);
  ASSERT_FALSE(huge);
  EXPECT_EQ(huge.error().what.rfind("interface wan, MAC 02:00:00:00:00:02, MTU 90000: Invalid argument", 0), 0u)
      << huge.error().what;
  EXPECT_EQ(ip("-br link"), before);
}

// The whole way of a neighbour: asked for, ARP request on the mirror, answered, in the model; then it dies.
TEST_F(MirrorTest, LinuxResolvesANeighbourThroughTheMirror) {
  Mirror wan = port("wan");
  configure(wan, "198.51.100.10/24");
  ASSERT_TRUE(eventually([&] { return model_.link("wan") && model_.link("wan")->up; }));
  const NeighbourKey key{test::ip("198.51.100.1"), wan.index()};
  const auto asked = netlink_->probe_neighbour(key);
  ASSERT_TRUE(asked) << asked.error().what;

  const auto request = receive_arp(wan);
  ASSERT_TRUE(request);
  EXPECT_EQ(request->operation.host(), 1);
  EXPECT_EQ(request->target, (std::array<uint8_t, 4>{198, 51, 100, 1}));
  EXPECT_EQ(request->sender_mac, kWanMac.bytes);
  ArpPacket reply = *request;
  reply.ethernet = {.destination = kWanMac.bytes, .source = kRouterMac.bytes, .ether_type = be16(kEtherTypeArp)};
  reply.operation = 2;
  reply.sender_mac = kRouterMac.bytes;
  std::swap(reply.sender, reply.target);
  reply.target_mac = kWanMac.bytes;
  ASSERT_TRUE(wan.write(bytes_of(reply)));
  ASSERT_TRUE(eventually([&] { return model_.neighbour(key) && model_.neighbour(key)->is_resolved(); }));
  EXPECT_EQ(model_.neighbour(key)->mac, kRouterMac);
}

TEST_F(MirrorTest, ANeighbourThatDoesNotAnswerFails) {
  Mirror wan = port("wan");
  configure(wan, "198.51.100.10/24");
  std::ofstream("/proc/sys/net/ipv4/neigh/wan/retrans_time_ms") << 20;
  ASSERT_TRUE(settled());
  const NeighbourKey key{test::ip("198.51.100.2"), wan.index()};
  ASSERT_TRUE(netlink_->probe_neighbour(key));
  EXPECT_TRUE(eventually([&] {
    const Neighbour* n = model_.neighbour(key);
    return n != nullptr && n->state == Neighbour::State::kFailed;
  }));
}

TEST_F(MirrorTest, AManagedNeighbourStaysManagedWhenProbedUntilReleased) {
  const Mirror wan = port("wan");
  configure(wan, "198.51.100.10/24");
  ip("neigh add 198.51.100.9 dev wan managed");
  if (ip("neigh show 198.51.100.9").find("managed") == std::string::npos) GTEST_SKIP() << "no managed neighbours here";
  const NeighbourKey key{test::ip("198.51.100.1"), wan.index()};
  const auto managed = netlink_->manage_neighbour(key);
  ASSERT_TRUE(managed) << managed.error().what;
  EXPECT_NE(ip("neigh show 198.51.100.1").find("managed"), std::string::npos);
  ASSERT_TRUE(netlink_->probe_neighbour(key));
  EXPECT_NE(ip("neigh show 198.51.100.1").find("managed"), std::string::npos);
  ASSERT_TRUE(netlink_->release_neighbour(key));
  EXPECT_EQ(ip("neigh show 198.51.100.1").find("managed"), std::string::npos);
}

// A tunnel's TUN carries bare IP packets: an echo request written to it is answered by Linux.
TEST_F(MirrorTest, LinuxAnswersAPingThroughATunnelsInterface) {
  auto made = Mirror::create_tunnel(*netlink_, "wg0", 1420);
  ASSERT_TRUE(made) << made.error().what;
  struct {
    Ipv4Header ip;
    uint8_t type, code;
    be16 checksum, id, sequence;
  } echo{};
  echo.ip.version_ihl = 0x45;
  echo.ip.total_length = sizeof echo;
  echo.ip.ttl = 64;
  echo.ip.protocol = kProtocolIcmp;
  echo.ip.source = {10, 255, 0, 2};
  echo.ip.destination = {10, 255, 0, 1};
  echo.ip.checksum = ipv4_header_checksum(echo.ip);
  echo.type = 8;
  echo.id = 77;
  echo.checksum = checksum_fold(checksum_add(bytes_of(echo).subspan(sizeof echo.ip)));
  EXPECT_FALSE(made->write(bytes_of(echo))) << "still down";

  configure(*made, "10.255.0.1/24");
  ASSERT_TRUE(made->write(bytes_of(echo)));
  const auto reply =
      receive(*made, [](ConstBytes b) { return b.size() == sizeof echo && version_of(b) == Family::kIpv4; });
  ASSERT_TRUE(reply);
  auto answer = echo;
  std::memcpy(&answer, reply->data(), sizeof answer);
  EXPECT_EQ(answer.type, 0);
  EXPECT_EQ(answer.id.host(), 77);
  EXPECT_EQ(answer.ip.destination, echo.ip.source);
  std::vector<std::byte> buffer(2048);
  for (int others = 0; others < 16 && made->read(buffer); ++others) continue;  // Linux looks for IPv6 routers, too
  EXPECT_EQ(made->read(buffer), std::nullopt) << "nothing more, and no waiting";
}

}  // namespace
}  // namespace sluice
