#include "dataplane/port/tun.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <rte_mbuf.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "tests/support/eal_fixture.h"
#include "tests/support/net_namespace.h"

namespace sluice {
namespace {

constexpr uint16_t kBurst = 64;

class TunPortTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!ns_.why_not().empty()) GTEST_SKIP() << "needs a network namespace: " << ns_.why_not();
    ASSERT_TRUE(ns_.run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1"));
    const int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tun < 0) GTEST_SKIP() << "needs /dev/net/tun";
    ifreq request{};
    std::strcpy(request.ifr_name, "slt0");
    request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
    ASSERT_EQ(ioctl(tun, TUNSETIFF, &request), 0);
    ASSERT_TRUE(ns_.run("ip address add 192.0.2.1/24 dev slt0 && ip link set slt0 up"));
    auto port = make_tun_port(PortId{0}, "slt0", {tun}, 1, {.usual = pool_.get()});
    ASSERT_TRUE(port) << port.error().what;
    port_ = std::move(*port);
    socket_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ASSERT_GE(socket_, 0);
  }
  void TearDown() override {
    if (socket_ >= 0) close(socket_);
  }
  void send(unsigned datagrams) {
    sockaddr_in to{.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(0xc0000202)}, .sin_zero = {}};
    for (unsigned i = 0; i < datagrams; ++i)
      ASSERT_EQ(sendto(socket_, "datagram", 8, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to), 8);
  }
  // As one super-frame, where Linux can do that for UDP (6.2).
  void send_super_frame(unsigned datagrams) {
    const int segment = 8;
    ASSERT_EQ(setsockopt(socket_, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment), 0);
    const std::vector<char> bytes(datagrams * segment);
    sockaddr_in to{.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(0xc0000202)}, .sin_zero = {}};
    ASSERT_EQ(sendto(socket_, bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to),
              static_cast<ssize_t>(bytes.size()));
  }
  uint16_t receive() {  // and frees
    rte_mbuf* packets[kBurst];
    const uint16_t n = port_->receive(0, packets, kBurst);
    rte_pktmbuf_free_bulk(packets, n);
    return n;
  }
  std::vector<rte_mbuf*> take_all_buffers() {
    std::vector<rte_mbuf*> taken;
    while (rte_mbuf* m = rte_pktmbuf_alloc(pool_.get())) taken.push_back(m);
    return taken;
  }

  const test::NetNamespace ns_;
  const PacketPool pool_ = test::small_pool(1023);
  std::unique_ptr<Port> port_;
  int socket_ = -1;
};

TEST_F(TunPortTest, YieldsWhatLinuxSends) {
  send(5);
  EXPECT_EQ(receive(), 5);
  EXPECT_EQ(receive(), 0);
  EXPECT_EQ(port_->counters().rx_packets, 5u);
}

// What does not fit whole into the rest of a burst waits, and the worker can know it.
TEST_F(TunPortTest, ABurstEndsWhereASuperFrameDoes) {
  send_super_frame(40);
  send_super_frame(40);
  const uint16_t first = receive();
  if (!port_->has_more(0)) GTEST_SKIP() << "this Linux cuts UDP itself";
  EXPECT_EQ(first, 40);
  EXPECT_EQ(receive(), 40);
  EXPECT_FALSE(port_->has_more(0));
  EXPECT_EQ(receive(), 0);
}

// Whoever could give buffers back may be the worker that asks: it must not stay here for as long as Linux sends.
TEST_F(TunPortTest, WithoutBuffersLosesOnePacketACall) {
  const std::vector<rte_mbuf*> taken = take_all_buffers();
  send(5);
  EXPECT_EQ(receive(), 0);
  EXPECT_EQ(port_->counters().rx_missed, 1u);
  for (rte_mbuf* m : taken) rte_pktmbuf_free(m);
  EXPECT_EQ(receive(), 4);
  EXPECT_EQ(port_->counters().rx_missed, 1u);
}

}  // namespace
}  // namespace sluice
