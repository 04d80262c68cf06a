// Frames from a port: which are ours, which are sound, which are WireGuard, which are Linux's.
#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include "dataplane/port/port_counters.h"
#include "dataplane/wire/ip.h"
#include "tests/support/pipeline_bench.h"

namespace sluice::test {
namespace {

using Drops = std::map<std::string, uint64_t>;
constexpr const char *kX = "198.51.100.2", *kUs = "198.51.100.1", *kX6 = "2001:db8::2", *kUs6 = "2001:db8::1";

class Ingress : public testing::Test {
 protected:
  // The one drop reason that a frame moves.
  void expect_drop(const Octets& frame, const char* reason) {
    bench.receive(frame);
    EXPECT_EQ(bench.drops(), (Drops{{reason, 1}}));
    EXPECT_TRUE(bench.punted().empty());
    EXPECT_TRUE(bench.handshakes().empty());
    EXPECT_TRUE(bench.events().empty());
  }
  void expect_punt(const Octets& frame, size_t size) {
    bench.receive(frame);
    EXPECT_EQ(bench.drops(), Drops{});
    const auto punted = bench.punted();
    ASSERT_EQ(punted.size(), 1u);
    EXPECT_EQ(punted[0].reason, PuntReason::kLocal);
    EXPECT_EQ(punted[0].in_port, kWan);
    EXPECT_EQ(punted[0].l2_size, sizeof(EthernetHeader));
    EXPECT_EQ(hex(punted[0].bytes), hex(std::span(frame).first(size)));
  }
  void expect_punt(const Octets& frame) { expect_punt(frame, frame.size()); }
  // The frame holds the session's keepalive, and it arrives.
  void expect_keepalive(const Octets& frame) {
    const uint64_t before = session.keypair->receiving.bytes;
    bench.receive(frame);
    EXPECT_EQ(bench.drops(), Drops{});
    EXPECT_EQ(session.keypair->receiving.bytes, before + kDataOverhead);
    EXPECT_TRUE(bench.punted().empty());
    bench.events();
  }
  PacketBuilder keepalive() { return PacketBuilder(session.seal(counter++, {})).udp(51820, kListenPort); }
  // A handshake initiation as far as ingress looks at it.
  static Octets initiation() {
    Octets message(148);
    message[0] = std::byte{1};
    return message;
  }

  PipelineBench bench;
  RemoteSession& session = bench.add_session(bench.peer());
  uint64_t counter = 0;
};

TEST_F(Ingress, DropsFramesForAnotherMac) {
  expect_drop(PacketBuilder(64).ipv4(kX, kUs).ethernet(kHostMac, kRouterMac), "not_for_us");
}

TEST_F(Ingress, DropsRunts) {
  expect_drop(Octets(13), "frame_malformed");
  for (const size_t size : {1u, 19u})
    expect_drop(PacketBuilder(Octets(size, std::byte{0x45})).ethernet(kWanMac, kRouterMac, kEtherTypeIpv4),
                "frame_malformed");
  for (const size_t size : {0u, 1u, 39u})
    expect_drop(PacketBuilder(Octets(size, std::byte{0x60})).ethernet(kWanMac, kRouterMac, kEtherTypeIpv6),
                "frame_malformed");
}

TEST_F(Ingress, DropsHeadersThatContradictThemselves) {
  Octets ihl = PacketBuilder(64).ipv4(kX, kUs).ethernet(kWanMac, kRouterMac);
  ihl[14] = std::byte{0x44};
  expect_drop(ihl, "frame_malformed");
  ihl[14] = std::byte{0x65};
  expect_drop(ihl, "frame_malformed");
  expect_drop(PacketBuilder(64).ipv4(kX, kUs, {.total_length = 19}).ethernet(kWanMac, kRouterMac), "frame_malformed");
  expect_drop(PacketBuilder(64).ipv4(kX, kUs).ethernet(kWanMac, kRouterMac, kEtherTypeIpv6), "frame_malformed");
}

TEST_F(Ingress, DropsWhatClaimsMoreThanArrived) {
  expect_drop(PacketBuilder(64).ipv4(kX, kUs, {.total_length = 85}).ethernet(kWanMac, kRouterMac), "frame_truncated");
  expect_drop(PacketBuilder(64).ipv6(kX6, kUs6, {.payload_length = 65}).ethernet(kWanMac, kRouterMac),
              "frame_truncated");
}

TEST_F(Ingress, DropsWrongIpv4HeaderChecksums) {
  expect_drop(PacketBuilder(64).ipv4(kX, kUs, {.checksum = 1}).ethernet(kWanMac, kRouterMac), "ip_checksum");
}

TEST_F(Ingress, JoinsSegmentsOrDropsThem) {
  const auto in_two = [&](size_t first) {
    const Octets frame = bench.datagram(session.seal(counter++, PacketBuilder(8).ipv4("10.2.0.2", "10.0.0.1")));
    rte_mbuf *head = rte_pktmbuf_alloc(bench.pool()), *tail = rte_pktmbuf_alloc(bench.pool());
    std::memcpy(rte_pktmbuf_append(head, static_cast<uint16_t>(first)), frame.data(), first);
    std::memcpy(rte_pktmbuf_append(tail, static_cast<uint16_t>(frame.size() - first)), frame.data() + first,
                frame.size() - first);
    rte_pktmbuf_chain(head, tail);
    return head;
  };
  Burst burst;
  burst.push(in_two(50));
  process_frames(bench.worker(), kWan, burst);
  bench.end_poll();
  EXPECT_EQ(bench.drops(), Drops{});
  EXPECT_EQ(bench.punted().size(), 1u);

  burst.count = 0;
  burst.push(in_two(50));
  rte_mbuf* head = burst.packets[0];
  head->data_off = static_cast<uint16_t>(head->buf_len - head->data_len);  // no room left for the rest
  process_frames(bench.worker(), kWan, burst);
  bench.end_poll();
  EXPECT_EQ(bench.drops(), (Drops{{"frame_too_long", 1}}));
}

TEST_F(Ingress, DropsFramesOfAPortThatIsGone) {
  bench.receive(PacketBuilder(64).ipv4(kX, kUs).ethernet(kWanMac, kRouterMac), PortId(7));
  EXPECT_EQ(bench.drops(), (Drops{{"port_gone", 1}}));
}

TEST_F(Ingress, PuntsWhatIsNotIp) {
  expect_punt(PacketBuilder(46).ethernet(kWanMac, kRouterMac, kEtherTypeArp));
  expect_punt(PacketBuilder(46).ethernet(Mac{{255, 255, 255, 255, 255, 255}}, kRouterMac, kEtherTypeArp));
  expect_punt(PacketBuilder(46).ethernet(kWanMac, kRouterMac, 0x88cc));
}

TEST_F(Ingress, PuntsMulticastAsReceived) {
  expect_punt(
      PacketBuilder(46).ipv4(kX, "224.0.0.18", {.protocol = 112}).ethernet(Mac{{1, 0, 94, 0, 0, 18}}, kHostMac));
}

TEST_F(Ingress, PuntsWhatIsForTheGatewayWithoutPadding) {
  const Octets icmp = PacketBuilder(8).ipv4(kX, kUs, {.protocol = 1}).ethernet(kWanMac, kRouterMac);
  Octets padded = icmp;
  padded.resize(60);
  expect_punt(padded, icmp.size());
  expect_punt(PacketBuilder(64).udp(5000, 5001).ipv6(kX6, kUs6).ethernet(kWanMac, kRouterMac));
}

TEST_F(Ingress, LeasesAreLinuxsWhileAPortHasNoIpv4Address) {
  const auto datagram = [](uint16_t port, Ipv4Fields fields = {}) {
    return PacketBuilder(300).udp(67, port).ipv4(kX, "198.51.100.77", fields).ethernet(kWanMac, kRouterMac);
  };
  const auto expect_no_route = [&](const Octets& frame) {
    bench.receive(frame);
    EXPECT_EQ(bench.drops(), (Drops{{"no_route", 1}}));
    bench.punted();  // an ICMP error is due
  };
  expect_no_route(datagram(68));
  bench.published().ports[kWan.value].has_ipv4 = false;
  bench.published().awaits_leases = true;
  expect_punt(datagram(68));
  expect_punt(datagram(68, {.options_size = 4}));
  expect_no_route(datagram(69));
  expect_no_route(datagram(68, {.more_fragments = true}));
  expect_no_route(datagram(68, {.protocol = 6}));
}

TEST_F(Ingress, DatagramEndsAtItsUdpLength) {  // D-15
  Octets message = session.seal(counter++, {});
  const auto udp_size = static_cast<uint16_t>(message.size() + 8);
  message.insert(message.end(), 5, std::byte{0x77});
  expect_keepalive(
      PacketBuilder(message).udp(51820, kListenPort, {.length = udp_size}).ipv4(kX, kUs).ethernet(kWanMac, kRouterMac));
}

TEST_F(Ingress, UdpLengthsThatDoNotFitAreDropped) {  // D-15
  for (const uint16_t length : std::initializer_list<uint16_t>{0, 7, 41, 65535})
    expect_drop(PacketBuilder(session.seal(counter++, {}))
                    .udp(51820, kListenPort, {.length = length, .checksum = 0})
                    .ipv4(kX, kUs)
                    .ethernet(kWanMac, kRouterMac),
                "udp_length");
  expect_drop(PacketBuilder(7).ipv4(kX, kUs).ethernet(kWanMac, kRouterMac), "udp_length");
}

TEST_F(Ingress, ChecksumZeroIsGoodOverIpv4Only) {  // D-16
  const auto without = [&] {
    return PacketBuilder(session.seal(counter++, {})).udp(51820, kListenPort, {.checksum = 0});
  };
  expect_keepalive(without().ipv4(kX, kUs).ethernet(kWanMac, kRouterMac));
  expect_drop(without().ipv6(kX6, kUs6).ethernet(kWanMac, kRouterMac), "udp_checksum");
}

TEST_F(Ingress, WrongChecksumsAreDropped) {  // D-16
  const auto wrong = [&] {
    return PacketBuilder(session.seal(counter++, {})).udp(51820, kListenPort, {.checksum = 7});
  };
  expect_drop(wrong().ipv4(kX, kUs).ethernet(kWanMac, kRouterMac), "udp_checksum");
  expect_drop(wrong().ipv6(kX6, kUs6).ethernet(kWanMac, kRouterMac), "udp_checksum");
  expect_keepalive(keepalive().ipv4(kX, kUs).ethernet(kWanMac, kRouterMac));
  expect_keepalive(keepalive().ipv6(kX6, kUs6).ethernet(kWanMac, kRouterMac));
  Octets initiation(sizeof(InitiationMessage));  // the cipher never sees it
  initiation[0] = std::byte{1};
  expect_drop(
      PacketBuilder(initiation).udp(51820, kListenPort, {.checksum = 7}).ipv4(kX, kUs).ethernet(kWanMac, kRouterMac),
      "udp_checksum");
  EXPECT_TRUE(bench.handshakes().empty());
}

TEST_F(Ingress, BelievesWhatTheHardwareSaysOfChecksums) {
  const auto flagged = [&](uint64_t flags, uint16_t udp_checksum) {
    const Octets frame = PacketBuilder(session.seal(counter++, {}))
                             .udp(51820, kListenPort, {.checksum = udp_checksum})
                             .ipv4(kX, kUs)
                             .ethernet(kWanMac, kRouterMac);
    Burst burst;
    burst.push(rte_pktmbuf_alloc(bench.pool()));
    std::memcpy(rte_pktmbuf_append(burst.packets[0], static_cast<uint16_t>(frame.size())), frame.data(), frame.size());
    burst.packets[0]->ol_flags |= flags;
    process_frames(bench.worker(), kWan, burst);
    bench.end_poll();
    return bench.drops();
  };
  EXPECT_EQ(flagged(RTE_MBUF_F_RX_L4_CKSUM_GOOD, 7), Drops{});
  EXPECT_EQ(flagged(RTE_MBUF_F_RX_L4_CKSUM_BAD, 7), (Drops{{"udp_checksum", 1}}));
  EXPECT_EQ(flagged(RTE_MBUF_F_RX_L4_CKSUM_NONE, 7), (Drops{{"udp_checksum", 1}}));
  EXPECT_EQ(flagged(RTE_MBUF_F_RX_IP_CKSUM_BAD, 0), (Drops{{"ip_checksum", 1}}));
}

TEST_F(Ingress, EthernetPaddingIsNoPartOfTheMessage) {  // D-17
  const Octets frame = keepalive().ipv4(kX, kUs).ethernet(kWanMac, kRouterMac).pad_to(120);
  expect_keepalive(frame);
}

TEST_F(Ingress, Ipv4OptionsAreSkipped) {  // D-18
  expect_keepalive(keepalive().ipv4(kX, kUs, {.options_size = 4}).ethernet(kWanMac, kRouterMac));
  expect_keepalive(keepalive().ipv4(kX, kUs, {.options_size = 40}).ethernet(kWanMac, kRouterMac));
}

TEST_F(Ingress, ExtensionHeadersAreLinuxs) {  // D-18
  const Octets options{std::byte{17}, std::byte{0}, std::byte{1}, std::byte{4},
                       std::byte{0},  std::byte{0}, std::byte{0}, std::byte{0}};
  expect_punt(keepalive().prepend(options).ipv6(kX6, kUs6, {.next_header = 0}).ethernet(kWanMac, kRouterMac));
}

TEST_F(Ingress, HostileSourcesAreDroppedBeforeAnythingAnswers) {  // M-22
  for (const char* source : {"127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0", kUs, "10.1.0.1"})
    expect_drop(PacketBuilder(initiation()).udp(51820, kListenPort).ipv4(source, kUs).ethernet(kWanMac, kRouterMac),
                "martian_source");
  for (const char* source : {"::", "::1", "ff02::1", "::ffff:192.0.2.1", kUs6})
    expect_drop(PacketBuilder(initiation()).udp(51820, kListenPort).ipv6(source, kUs6).ethernet(kWanMac, kRouterMac),
                "martian_source");
}

TEST_F(Ingress, SourcePortZeroIsTolerated) {  // M-22
  expect_keepalive(
      PacketBuilder(session.seal(counter++, {})).udp(0, kListenPort).ipv4(kX, kUs).ethernet(kWanMac, kRouterMac));
}

TEST_F(Ingress, HandsHandshakesToControlWithTheirOuterHeaders) {
  bench.receive(PacketBuilder(initiation()).udp(4711, kListenPort).ipv6(kX6, kUs6).ethernet(kWanMac, kRouterMac));
  EXPECT_EQ(bench.drops(), Drops{});
  rte_mbuf* m = nullptr;
  ASSERT_EQ(bench.mailbox().take_handshakes(&m, 1), 1u);
  EXPECT_EQ(rte_pktmbuf_data_len(m), 148u);
  const OuterHeaders outer = outer_headers_of(m);
  EXPECT_EQ(outer.remote, (Endpoint{*parse_address(kX6), 4711}));
  EXPECT_EQ(outer.local, *parse_address(kUs6));
  EXPECT_EQ(outer.local_port, kListenPort);
  EXPECT_EQ(meta(m).from.in_port, kWan);
  EXPECT_EQ(meta(m).from.worker, WorkerId(0));
  rte_pktmbuf_free(m);
}

TEST_F(Ingress, DropsTheNewestHandshakesWhenControlIsBehind) {
  std::vector<Octets> flood(1024 + 7, bench.datagram(initiation()));
  bench.receive(flood);
  EXPECT_EQ(bench.drops(), (Drops{{"handshake_ring_full", 7}}));
  EXPECT_EQ(bench.handshakes().size(), 1024u);
}

TEST_F(Ingress, MessagesOfNoKnownTypeAreDropped) {  // M-06
  for (const int type : {0, 5, 255}) {
    Octets message(148);
    message[0] = static_cast<std::byte>(type);
    expect_drop(bench.datagram(message), "message_invalid");
  }
  expect_drop(bench.datagram({}), "message_invalid");
}

TEST_F(Ingress, PuntsAFloodOnlyWithinThePortsBudgetAndControlTrafficBeyondIt) {
  const Octets ping = PacketBuilder(8).ipv4(kX, kUs, {.protocol = 1}).ethernet(kWanMac, kRouterMac);
  const Octets arp = PacketBuilder(46).ethernet(kWanMac, kRouterMac, kEtherTypeArp);
  size_t passed = 0;
  for (int i = 0; i < 40; ++i) {
    bench.receive(std::vector<Octets>(64, ping));
    passed += bench.punted().size();
  }
  EXPECT_EQ(passed, 1500u);  // the burst without its reserve
  EXPECT_EQ(bench.drops(), (Drops{{"punt_rate_limited", 40 * 64 - 1500}}));
  bench.receive(std::vector<Octets>(64, arp));
  EXPECT_EQ(bench.punted().size(), 64u);
  // Another port has a budget of its own.
  bench.receive(PacketBuilder(8).ipv4("10.1.0.2", kUs, {.protocol = 1}).ethernet(kLanMac, kHostMac), kLan);
  EXPECT_EQ(bench.punted().size(), 1u);
  EXPECT_EQ(bench.drops(), Drops{});
  // 20,000 a second come back, the reserve first.
  bench.advance(10ms);
  bench.receive(std::vector<Octets>(200, ping));
  EXPECT_EQ(bench.punted().size(), 200u - 64u);
  EXPECT_EQ(bench.drops(), (Drops{{"punt_rate_limited", 64}}));
}

TEST_F(Ingress, DropsPuntsWhenControlIsBehind) {
  const Octets ping = PacketBuilder(8).ipv4(kX, kUs, {.protocol = 1}).ethernet(kWanMac, kRouterMac);
  bench.receive(std::vector<Octets>(1024 + 3, ping));
  EXPECT_EQ(bench.drops(), (Drops{{"punt_ring_full", 3}}));
}

// VLAN 20 of the wan's cable is the lan port.
class VlanIngress : public Ingress {
 protected:
  VlanIngress() {
    auto& by_vlan = bench.published().ports[kWan.value].by_vlan;
    by_vlan.assign(VlanTag::kVlanMask + 1, kNoPort);
    by_vlan[0] = kWan;
    by_vlan[20] = kLan;
    bench.published().ports[kLan.value].arrivals = &arrivals;
  }
  static Octets tagged(Octets frame, uint16_t control) {
    frame.insert(frame.begin(), sizeof(VlanTag), std::byte{0});
    tag_frame(frame, control);
    return frame;
  }
  // A device has taken the tag off.
  void receive_stripped(const Octets& frame, uint16_t control) {
    rte_mbuf* m = rte_pktmbuf_alloc(bench.pool());
    std::memcpy(rte_pktmbuf_append(m, static_cast<uint16_t>(frame.size())), frame.data(), frame.size());
    m->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
    m->vlan_tci = control;
    Burst burst;
    burst.push(m);
    process_frames(bench.worker(), kWan, burst);
    bench.end_poll();
  }
  // It is the lan port's, without its tag.
  void expect_lan(const Octets& untagged) {
    EXPECT_EQ(bench.drops(), Drops{});
    const auto punted = bench.punted();
    ASSERT_EQ(punted.size(), 1u);
    EXPECT_EQ(punted[0].in_port, kLan);
    EXPECT_EQ(punted[0].l2_size, sizeof(EthernetHeader));
    EXPECT_EQ(hex(punted[0].bytes), hex(untagged));
  }

  const Octets for_us = PacketBuilder(64).ipv4(kX, kUs).ethernet(kWanMac, kRouterMac);
  const Octets arp = PacketBuilder(28).ethernet(Mac{{255, 255, 255, 255, 255, 255}}, kRouterMac, kEtherTypeArp);
  LivePortCounters arrivals;
};

TEST_F(VlanIngress, AVlanIsAPortOfItsOwn) {
  for (const Octets& frame : {for_us, arp}) {
    bench.receive(tagged(frame, 20));
    expect_lan(frame);
    bench.receive(tagged(frame, 0xe000 | 20));
    expect_lan(frame);
    receive_stripped(frame, 0xe000 | 20);
    expect_lan(frame);
  }
  EXPECT_EQ(arrivals.read().rx_packets, 6u);
  EXPECT_EQ(arrivals.read().rx_bytes, 3 * (for_us.size() + arp.size()));
}

TEST_F(VlanIngress, NoTagOrOnlyAPriorityIsThePortsOwn) {
  expect_punt(for_us);
  bench.receive(tagged(for_us, 0xa000));
  EXPECT_EQ(bench.punted().at(0).in_port, kWan);
  receive_stripped(for_us, 0xa000);
  EXPECT_EQ(bench.punted().at(0).in_port, kWan);
  EXPECT_EQ(bench.drops(), Drops{});
}

TEST_F(VlanIngress, OtherVlansAreNobodys) {
  expect_drop(tagged(for_us, 21), "vlan_unknown");
  receive_stripped(for_us, 21);
  EXPECT_EQ(bench.drops(), (Drops{{"vlan_unknown", 1}}));
  bench.published().ports[kWan.value].by_vlan[0] = kNoPort;  // a port that is tagged itself
  expect_drop(for_us, "vlan_unknown");
  expect_drop(tagged(for_us, 0), "vlan_unknown");
}

TEST_F(VlanIngress, WireguardInAVlan) {  // D-18
  const uint64_t before = session.keypair->receiving.bytes;
  bench.receive(tagged(bench.datagram(session.seal(counter++, {})), 20));
  EXPECT_EQ(bench.drops(), Drops{});
  EXPECT_EQ(session.keypair->receiving.bytes, before + kDataOverhead);
}

// In one burst, from one address: where each message arrived counts.
TEST_F(VlanIngress, AMessagesSourceIsJudgedByItsOwnPort) {
  NextHop& way_back = bench.hop_to("198.51.100.0/24");
  way_back = bench.hop_to("10.1.0.0/16");  // out of the lan port
  bench.published().checks_reverse_path = true;
  for (const PortId port : {kWan, kLan}) bench.published().ports[port.value].reverse_path = ReversePath::kSamePort;
  const auto message = [&] { return bench.datagram(session.seal(counter++, {})); };
  const auto received = [&] { return session.keypair->receiving.bytes.load(); };
  const uint64_t before = received();
  bench.receive({message(), tagged(message(), 20)});
  EXPECT_EQ(bench.drops(), (Drops{{"reverse_path", 1}}));
  EXPECT_EQ(received(), before + kDataOverhead);
  bench.receive({tagged(message(), 20), message()});
  EXPECT_EQ(bench.drops(), (Drops{{"reverse_path", 1}}));
  EXPECT_EQ(received(), before + 2 * kDataOverhead);
}

TEST_F(VlanIngress, TagsThatAreCutShort) {
  const Octets whole = tagged(for_us, 20);
  for (const size_t size : {14u, 17u}) expect_drop(Octets(whole.begin(), whole.begin() + size), "frame_malformed");
  expect_drop(Octets(whole.begin(), whole.begin() + 18), "frame_malformed");
}

TEST_F(Ingress, ATaggedFrameOnAPortWithoutVlansIsNobodys) {  // D-18
  Octets frame = PacketBuilder(64).ipv4(kX, kUs).ethernet(kWanMac, kRouterMac);
  frame.insert(frame.begin(), sizeof(VlanTag), std::byte{0});
  tag_frame(frame, 5);
  expect_drop(frame, "vlan_unknown");
}

}  // namespace
}  // namespace sluice::test
