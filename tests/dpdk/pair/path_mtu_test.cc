// The path between two gateways is narrower than its ends: what routers report, what probes find, what forgers get.
#include <cstring>

#include "dataplane/wire/ip.h"
#include "tests/dpdk/pair/pair_fixture.h"
#include "tests/support/packet_builder.h"

namespace sluice::test {
namespace {

using enum MessageType;

class Paths : public PairTest {
 protected:
  void begin(Family outer = Family::kIpv4) {
    GatewayPair::Options options;
    options.outer = outer;
    start(options);
    pair().shake_hands();
    forget_frames();
  }
  const OuterRoute& outer_of_a() { return *pair().b_at_a->shared->outer.load(); }
  bool is_ipv4() { return outer_of_a().remote.address.is_ipv4(); }

  // A message of a with a large packet in it, as it is on the wire.
  Packet large_frame(size_t payload = 1300) {
    forget_frames();
    EXPECT_TRUE(a().host_sends(udp_packet(a().site().host(Family::kIpv4), b().site().host(Family::kIpv4), 1, payload)));
    pair().settle();
    pair().arrived_at_b();
    return from_a.of_type(kData).front();
  }
  // What a router on the way says of a frame.
  Packet report_about(const Packet& frame, uint16_t mtu) {
    const size_t quote = std::min<size_t>(frame.size() - sizeof(EthernetHeader), is_ipv4() ? 548 : 1232);
    Octets icmp(8);
    icmp[0] = is_ipv4() ? std::byte{3} : std::byte{2};
    icmp[1] = is_ipv4() ? std::byte{4} : std::byte{0};
    icmp[6] = static_cast<std::byte>(mtu >> 8);
    icmp[7] = static_cast<std::byte>(mtu);
    const auto ip = frame.begin() + sizeof(EthernetHeader);
    icmp.insert(icmp.end(), ip, ip + static_cast<ptrdiff_t>(quote));
    const std::string router = is_ipv4() ? "203.0.113.1" : "2001:db8:9::1";
    const IpAddress us = a().site().wan(is_ipv4() ? Family::kIpv4 : Family::kIpv6);
    const be16 sum(is_ipv4() ? checksum_fold(checksum_add(icmp))
                             : transport_checksum(*parse_address(router), us, kProtocolIcmpv6, icmp));
    std::memcpy(icmp.data() + 2, &sum, sizeof sum);
    PacketBuilder packet(icmp);
    if (is_ipv4())
      packet.ipv4(router, to_string(us), {.protocol = 1});
    else
      packet.ipv6(router, to_string(us), {.next_header = 58});
    return packet.ethernet(a().site().wan_mac, Mac{{2, 0, 0, 0, 7, 7}}).build();
  }
  size_t largest_ip_packet_of_a() {
    size_t largest = 0;
    for (const Packet& frame : from_a.frames) largest = std::max(largest, frame.size() - sizeof(EthernetHeader));
    return largest;
  }
};

TEST_F(Paths, ARouterReportsNarrowness) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    begin(family);
    const size_t overhead = is_ipv4() ? 60 : 80;
    EXPECT_EQ(outer_of_a().mtu, 1500);
    EXPECT_EQ(outer_of_a().inner_mtu, 1500 - overhead);
    inject(a(), report_about(large_frame(), 1300));
    EXPECT_EQ(outer_of_a().mtu, 1300);
    EXPECT_EQ(outer_of_a().inner_mtu, 1300 - overhead);
    large_frame();  // may be split, and is
    EXPECT_LE(largest_ip_packet_of_a(), 1300u);
    EXPECT_EQ(a().drop_names(), Names{});
    // It is believed for ten minutes.
    pass(9min, 1s);
    EXPECT_EQ(outer_of_a().mtu, 1300);
    pass(61s, 1s);
    EXPECT_EQ(outer_of_a().mtu, 1500);
  }
}

TEST_F(Paths, NobodyShrinksAPathBelow1280) {
  begin();
  inject(a(), report_about(large_frame(), 68));
  EXPECT_EQ(outer_of_a().mtu, 1280);
  TearDown();
  begin(Family::kIpv6);
  inject(a(), report_about(large_frame(), 68));
  EXPECT_EQ(outer_of_a().mtu, 1500);
}

// Each field that ties a report to a message of ours, wrong once.
TEST_F(Paths, ForgersAreNotBelieved) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    begin(family);
    const Packet real = large_frame();
    const size_t l4 = sizeof(EthernetHeader) + (is_ipv4() ? 20 : 40), message = l4 + 8;
    const size_t source_end = is_ipv4() ? l4 - 5 : l4 - 17, destination_end = l4 - 1;
    for (const size_t at : {source_end, destination_end, l4 + 1, l4 + 3, message + 4, message + 7, message + 14}) {
      Packet forged = real;
      forged[at] ^= std::byte{1};
      inject(a(), report_about(forged, 1300));
      EXPECT_EQ(outer_of_a().mtu, 1500) << at;
    }
    inject(a(), report_about(real, 1300));
    EXPECT_EQ(outer_of_a().mtu, 1300);
    TearDown();
  }
}

TEST_F(Paths, AnotherWayIsAnotherPath) {
  begin();
  inject(a(), report_about(large_frame(), 1300));
  ASSERT_EQ(outer_of_a().mtu, 1300);
  know_neighbour(a(), *parse_address("198.51.100.77"));
  a().tunnel().set_endpoint(*pair().b_at_a, {*parse_address("198.51.100.77"), 51820, 0});
  EXPECT_EQ(outer_of_a().mtu, 1500);
}

TEST_F(Paths, TunnelsTakeWhatTheirRoutesLeave) {
  begin();
  EXPECT_EQ(a().tunnel().derived_mtu(), 1420);
  Link wan = *a().network().link("wan");
  for (const auto& [port, tunnel] : {std::pair(9000u, 8920u), {1492u, 1412u}, {1300u, 1280u}}) {
    wan.mtu = port;
    a().network().put_link(wan);
    a().network_changed();
    a().wireguard().take_route_mtus_changed();
    pair().settle();
    EXPECT_TRUE(a().wireguard().take_route_mtus_changed());
    EXPECT_EQ(a().tunnel().derived_mtu(), tunnel);
  }
  a().tunnel().remove_all_peers();
  EXPECT_EQ(a().tunnel().derived_mtu(), 1420);
}

// --- probes: the wire drops in silence what is too large ---

class Probes : public Paths {
 protected:
  // b's first host stands for the address that is b's own in the tunnel: it answers pings.
  void begin_probing(size_t width, Family outer = Family::kIpv4) {
    begin(outer);
    from_a.rule = [this, width](Packet frame) {
      const size_t size = frame.size() - sizeof(EthernetHeader);
      if (size == 1500) saw_whole_ = true;
      return size > width ? std::vector<Packet>{} : just(std::move(frame));
    };
    a().tunnel().add_allowed_ip(*pair().b_at_a, Prefix::host(b().site().host(Family::kIpv4)));
    a().tunnel().set_addresses({a().site().host(Family::kIpv4, 1)});
    a().tunnel().set_path_mtu_probe(true);
  }
  void pass_answering(Nanoseconds time) {
    for (const MonoTime end = pair().clock.now() + time; pair().clock.now() < end;) {
      pair().run(50ms, 50ms);
      pair().settle();
      for (Packet& packet : pair().arrived_at_b()) {
        if (!answers_) continue;
        ASSERT_EQ(packet[9], std::byte{1});
        ASSERT_EQ(packet.size(), 44u) << "padding is no part of the probe";
        std::swap_ranges(packet.begin() + 12, packet.begin() + 16, packet.begin() + 16);
        packet[20] = packet[22] = packet[23] = std::byte{0};
        const be16 sum(checksum_fold(checksum_add(ConstBytes(packet).subspan(20))));
        std::memcpy(packet.data() + 22, &sum, sizeof sum);
        ASSERT_TRUE(b().host_sends(packet));
        pair().settle();
      }
    }
  }
  bool answers_ = true, saw_whole_ = false;
};

TEST_F(Probes, FindABlackHole) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    begin_probing(1400, family);
    pass_answering(4s);
    EXPECT_LE(outer_of_a().mtu, 1400);  // at once it works, if not as well as it could
    pass_answering(30s);
    EXPECT_LE(outer_of_a().mtu, 1400);
    EXPECT_GT(outer_of_a().mtu, 1392);
    EXPECT_TRUE(saw_whole_);
    EXPECT_EQ(a().drop_names(), Names{});
    a().tunnel().set_path_mtu_probe(false);
    EXPECT_EQ(outer_of_a().mtu, 1500);
    TearDown();
  }
}

TEST_F(Probes, AWidePathStaysAsItIs) {
  begin_probing(1500);
  pass_answering(5s);
  EXPECT_EQ(outer_of_a().mtu, 1500);
  EXPECT_TRUE(saw_whole_);
  const size_t before = from_a.frames.size();
  pass_answering(300s);  // and nobody sends anything: no probes either
  EXPECT_LE(from_a.frames.size(), before + 2);
}

TEST_F(Probes, APeerThatDoesNotAnswerProvesNothing) {
  begin_probing(1400);
  answers_ = false;
  pass_answering(30s);
  EXPECT_EQ(outer_of_a().mtu, 1500);
  EXPECT_FALSE(saw_whole_);
}

TEST_F(Probes, NeedSomebodyToAsk) {
  begin();
  a().tunnel().set_path_mtu_probe(true);  // no address of the tunnel's own
  pass(10s);
  EXPECT_EQ(from_a.count(kData), 0u);
  EXPECT_EQ(outer_of_a().mtu, 1500);
}

}  // namespace
}  // namespace sluice::test
