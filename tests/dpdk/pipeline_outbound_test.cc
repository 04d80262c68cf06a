// IP to WireGuard: which peer, which keypair, what waits, and the bytes on the wire.
#include <gtest/gtest.h>

#include "dataplane/wire/ip.h"
#include "dataplane/wire/limits.h"
#include "dataplane/wire/messages.h"
#include "tests/support/pipeline_bench.h"
#include "tests/support/vectors.h"

namespace sluice::test {
namespace {

using Drops = std::map<std::string, uint64_t>;
constexpr const char *kHost = "10.1.0.2", *kInX = "10.2.0.2";

std::vector<EventKind> kinds(const std::vector<Event>& events) {
  std::vector<EventKind> all;
  for (const Event& event : events) all.push_back(event.kind);
  return all;
}

const DataHeader& header_of(const Octets& message) { return *reinterpret_cast<const DataHeader*>(message.data()); }

class Outbound : public testing::TestWithParam<std::string_view> {
 protected:
  static Octets packet(size_t size = 64, Ipv4Fields fields = {}) {
    return PacketBuilder(size).udp(1000, 2000).ipv4(kHost, kInX, fields);
  }
  static Octets frame(size_t size = 64, Ipv4Fields fields = {}) {
    return PacketBuilder(packet(size, fields)).ethernet(kLanMac, kHostMac);
  }
  void send(const Octets& lan_frame = frame()) { bench.receive(lan_frame, kLan); }
  void send(const std::vector<Octets>& lan_frames) { bench.receive(lan_frames, kLan); }
  static Octets padded(Octets bytes, size_t size) {
    bytes.resize(size);
    return bytes;
  }

  PipelineBench bench{1, GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Engines, Outbound, testing::ValuesIn(available_engines()), [](const auto& named) {
  std::string name(named.param);
  std::erase(name, '-');
  return name;
});

// Every byte of the frame, over both families.
TEST_P(Outbound, SealsWhatItForwards) {
  RemoteSession& session = bench.add_session(bench.peer());
  for (const char* endpoint : {"198.51.100.2", "2001:db8::2"}) {
    bench.set_endpoint(bench.peer(), endpoint);
    const bool ipv4 = endpoint[0] == '1';
    send();
    EXPECT_EQ(bench.drops(), Drops{});
    const auto frames = bench.transmitted(kWan);
    ASSERT_EQ(frames.size(), 1u);
    const size_t headers = ipv4 ? 42 : 62;
    const Octets message(frames[0].begin() + static_cast<ptrdiff_t>(headers), frames[0].end());
    EXPECT_EQ(header_of(message).receiver_index.host(), session.keypair->sending->remote_index);
    EXPECT_EQ(header_of(message).counter.host(), ipv4 ? 0u : 1u);
    EXPECT_EQ(session.open(message), padded(packet(64, {.ttl = 63}), 96));
    PacketBuilder expected(message);
    expected.udp(kListenPort, 51820);
    ipv4 ? expected.ipv4("198.51.100.1", endpoint) : expected.ipv6("2001:db8::1", endpoint);
    Octets bytes = expected.ethernet(kRouterMac, kWanMac);
    if (ipv4) {  // the identification varies
      auto* ip = reinterpret_cast<Ipv4Header*>(bytes.data() + 14);
      ip->id = reinterpret_cast<const Ipv4Header*>(frames[0].data() + 14)->id;
      ip->checksum = ipv4_header_checksum(*ip);
    }
    EXPECT_EQ(hex(frames[0]), hex(bytes));
  }
}

// The headers of a way through a socket are shorter than any frame's: nothing of them may reach into the text.
TEST_P(Outbound, SealsWhatLeavesThroughASocket) {
  RemoteSession& session = bench.add_session(bench.peer());
  for (const char* endpoint : {"198.51.100.2", "2001:db8::2"}) {
    const IpAddress remote = *parse_address(endpoint);
    bench.outer_of(bench.peer()) = socket_route(kWan, {remote, 51820}, {}, kListenPort);
    send();
    EXPECT_EQ(bench.drops(), Drops{});
    const auto packets = bench.transmitted(kWan);
    ASSERT_EQ(packets.size(), 1u);
    const size_t headers = (remote.is_ipv4() ? sizeof(Ipv4Header) : sizeof(Ipv6Header)) + sizeof(UdpHeader);
    const Octets message(packets[0].begin() + static_cast<ptrdiff_t>(headers), packets[0].end());
    EXPECT_EQ(session.open(message), padded(packet(64, {.ttl = 63}), 96));
  }
}

TEST_P(Outbound, PaddingStopsAtTheMtu) {  // D-05
  RemoteSession& session = bench.add_session(bench.peer());
  const auto file = load_vectors("small.json");
  for (const auto& vector : file["padding"]["vectors"]) {
    const size_t length = vector["length"], mtu = vector["mtu"], expected = vector["padded"];
    if (length < 28 || length > 1500 || (mtu != 0 && length > mtu)) continue;  // the others: wire's unit test
    SCOPED_TRACE(std::to_string(length) + " at " + std::to_string(mtu));
    bench.published().tunnels[kTunnel.value].mtu = static_cast<uint16_t>(mtu);
    bench.outer_of(bench.peer()).mtu = 0;
    send(frame(length - 28));
    const auto messages = bench.messages_to_peer();
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_EQ(messages[0].size(), expected + kDataOverhead);
    EXPECT_EQ(session.open(messages[0]), padded(packet(length - 28, {.ttl = 63}), expected));
  }
  EXPECT_EQ(bench.drops(), Drops{});
}

TEST_P(Outbound, OuterHasTheEcnAndNoDscp) {  // D-11, D-12
  bench.add_session(bench.peer());
  const std::map<std::string, uint8_t> codes{{"Not-ECT", 0}, {"ECT(1)", 1}, {"ECT(0)", 2}, {"CE", 3}};
  const auto file = load_vectors("small.json");
  constexpr uint8_t kExpedited = 46 << 2;
  for (const char* endpoint : {"198.51.100.2", "2001:db8::2"}) {
    bench.set_endpoint(bench.peer(), endpoint);
    for (const auto& vector : file["ecn"]["encapsulate"]) {
      const uint8_t inner = codes.at(vector["inner"]), outer = codes.at(vector["outer"]);
      const auto field = static_cast<uint8_t>(kExpedited | inner);
      const Octets v6 =
          PacketBuilder(8).ipv6("fd01::2", "fd02::2", {.traffic_class = field}).ethernet(kLanMac, kHostMac);
      send({frame(64, {.tos = field}), v6});
      const auto frames = bench.transmitted(kWan);
      ASSERT_EQ(frames.size(), 2u);
      for (const Octets& sent : frames) {
        const auto ip = ConstBytes(sent).subspan(14);
        EXPECT_EQ(version_of(ip) == Family::kIpv4 ? static_cast<uint8_t>(ip[1])
                                                  : reinterpret_cast<const Ipv6Header*>(ip.data())->traffic_class(),
                  outer);
      }
    }
  }
}

TEST_P(Outbound, CountersFollowTheOrderOnTheWire) {  // D-09
  RemoteSession& session = bench.add_session(bench.peer());
  Peer& other = bench.add_peer({"10.4.0.0/16"}, "198.51.100.4");
  bench.hop_to("10.4.0.0/16") = bench.hop_to("10.2.0.0/16");
  RemoteSession& other_session = bench.add_session(other);
  std::vector<Octets> frames;
  for (unsigned i = 0; i < 200; ++i) {
    const char* to = i % 3 == 0 ? "10.4.0.1" : kInX;
    frames.push_back(PacketBuilder(i).ipv4(kHost, to).ethernet(kLanMac, kHostMac));
  }
  send(frames);
  const auto messages = bench.messages_to_peer();
  ASSERT_EQ(messages.size(), 200u);
  std::map<uint32_t, uint64_t> next;
  for (unsigned i = 0; i < 200; ++i) {
    const DataHeader& header = header_of(messages[i]);
    EXPECT_EQ(header.counter.host(), next[header.receiver_index.host()]++);
    const RemoteSession& to = i % 3 == 0 ? other_session : session;
    ASSERT_EQ(header.receiver_index.host(), to.keypair->sending->remote_index);
    const auto inner = to.open(messages[i]);
    ASSERT_TRUE(inner);
    EXPECT_EQ(inner_length(*inner), 20 + i);
  }
}

TEST_P(Outbound, PacketWithoutHeadroomIsSentAllTheSame) {  // D-04
  RemoteSession& session = bench.add_session(bench.peer());
  Burst burst;
  const Octets inner = packet(1300);
  burst.push(rte_pktmbuf_alloc(bench.pool()));
  rte_mbuf* m = burst.packets[0];
  meta(m) = {.from = {.in_port = kNoPort, .tunnel = kTunnel}};
  m->data_off = 3;
  std::memcpy(rte_pktmbuf_append(m, static_cast<uint16_t>(inner.size())), inner.data(), inner.size());
  process_tunnel_bound(bench.worker(), burst);
  bench.end_poll();
  const auto messages = bench.messages_to_peer();
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(session.open(messages[0]), padded(inner, 1328));
}

TEST_P(Outbound, PacketThatFitsNoBufferWithItsHeadersIsDropped) {
  bench.add_session(bench.peer());
  Burst burst;
  burst.push(rte_pktmbuf_alloc(bench.pool()));
  rte_mbuf* m = burst.packets[0];
  meta(m) = {.from = {.in_port = kNoPort, .tunnel = kTunnel}};
  m->data_off = 0;
  const auto size = static_cast<uint16_t>(m->buf_len - 40);
  const Octets inner = PacketBuilder(size - 20u).ipv4(kHost, kInX);
  std::memcpy(rte_pktmbuf_append(m, size), inner.data(), size);
  process_tunnel_bound(bench.worker(), burst);
  EXPECT_EQ(bench.drops(), (Drops{{"no_headroom", 1}}));
}

TEST_P(Outbound, TheLast128StagedPacketsGoInOrder) {  // I-06
  std::vector<Octets> frames;
  for (unsigned i = 0; i < 200; ++i) frames.push_back(frame(i));
  send(frames);
  EXPECT_EQ(bench.drops(), (Drops{{"staged_overflow", 72}}));
  EXPECT_EQ(kinds(bench.events()), std::vector{EventKind::kNeedHandshake});  // one, for all of them
  EXPECT_TRUE(bench.messages_to_peer().empty());
  RemoteSession& session = bench.add_session(bench.peer());
  bench.run(flush_staged, bench.peer().id);
  const auto messages = bench.messages_to_peer();
  ASSERT_EQ(messages.size(), 128u);
  for (unsigned i = 0; i < 128; ++i) {
    EXPECT_EQ(header_of(messages[i]).counter.host(), i);
    const auto inner = session.open(messages[i]);
    ASSERT_TRUE(inner);
    EXPECT_EQ(inner_length(*inner), 28 + 72 + i);
  }
  EXPECT_EQ(bench.drops(), Drops{});
}

TEST_P(Outbound, StagedPacketsGoBeforeNewOnes) {
  send({frame(1), frame(2)});
  RemoteSession& session = bench.add_session(bench.peer());
  send({frame(3), frame(4)});  // no command of control's has come yet
  const auto messages = bench.messages_to_peer();
  ASSERT_EQ(messages.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(inner_length(*session.open(messages[i])), 28 + 1 + i);
  EXPECT_TRUE(bench.staged().empty());
}

// As many staged packets as a burst of the next stage holds, several times over.
TEST_P(Outbound, ManyStagedPeersInOneBurst) {
  std::vector<Octets> first, second;
  std::vector<Peer*> peers;
  for (int i = 0; i < 8; ++i) {
    const std::string prefix = "10.9." + std::to_string(i) + ".0/24", to = "10.9." + std::to_string(i) + ".1";
    peers.push_back(&bench.add_peer({prefix}, "198.51.100." + std::to_string(10 + i)));
    for (int n = 0; n < 32; ++n) first.push_back(PacketBuilder(10).ipv4(kHost, to).ethernet(kLanMac, kHostMac));
    second.push_back(first.back());
  }
  NextHop& hop = bench.hop_to("10.9.0.0/16");
  hop.action = NextHop::Action::kTunnel;
  hop.tunnel = kTunnel;
  send(first);
  EXPECT_EQ(bench.drops(), Drops{});
  for (Peer* peer : peers) bench.add_session(*peer);
  send(second);
  EXPECT_EQ(bench.messages_to_peer().size(), 8u * 33u);
  EXPECT_EQ(bench.drops(), Drops{});
}

TEST_P(Outbound, StagingIsBoundedOverAllPeers) {
  std::vector<Octets> frames;
  for (int i = 0; i < 9; ++i) {
    const std::string prefix = "10.9." + std::to_string(i) + ".0/24", to = "10.9." + std::to_string(i) + ".1";
    bench.add_peer({prefix}, "198.51.100.9");
    frames.push_back(PacketBuilder(10).ipv4(kHost, to).ethernet(kLanMac, kHostMac));
  }
  NextHop& hop = bench.hop_to("10.9.0.0/16");
  hop.action = NextHop::Action::kTunnel;
  hop.tunnel = kTunnel;
  send(frames);  // the bench has room for eight peers
  EXPECT_EQ(bench.drops(), (Drops{{"staged_full", 1}}));
  send(std::vector<Octets>(128, frames[0]));  // 7 + 128 now, one of them pushed out by its own
  EXPECT_EQ(bench.drops(), (Drops{{"staged_overflow", 1}}));
  send(std::vector<Octets>(122, frames[1]));  // of 256
  EXPECT_EQ(bench.drops(), (Drops{{"staged_full", 1}}));
  EXPECT_EQ(bench.staged().packets(), 256u);
}

TEST_P(Outbound, DiscardedStagedPacketsAreCounted) {
  send({frame(), frame(), frame()});
  bench.run(discard_staged, bench.peer().id);
  EXPECT_EQ(bench.drops(), (Drops{{"staged_discarded", 3}}));
  EXPECT_TRUE(bench.staged().empty());
  const auto punted = bench.punted();
  ASSERT_EQ(punted.size(), 3u) << "their senders are told";
  for (const Punted& packet : punted) EXPECT_EQ(packet.reason, PuntReason::kNoEndpoint);
}

TEST_P(Outbound, StagedPacketsOfAPeerThatIsGoneAreDiscarded) {
  send();
  PeerId gone = bench.peer().id;
  bench.run(flush_staged, {gone.slot, gone.generation + 1});
  EXPECT_EQ(bench.staged().packets(), 1u);  // not this peer's
  EXPECT_EQ(bench.drops(), Drops{});
}

TEST_P(Outbound, NothingUnderAnUnconfirmedKey) {  // H-16
  RemoteSession& next = bench.add_session(bench.peer(), {.initiator = false, .current = false});
  send();
  EXPECT_TRUE(bench.messages_to_peer().empty());
  EXPECT_EQ(bench.staged().packets(), 1u);
  bench.receive_message(next, 0, {});  // X confirms
  bench.promote(next);
  bench.run(flush_staged, bench.peer().id);
  const auto messages = bench.messages_to_peer();
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_TRUE(next.open(messages[0]));
}

TEST_P(Outbound, OldKeyCarriesOnUntilConfirmation) {  // H-17
  RemoteSession& current = bench.add_session(bench.peer());
  bench.add_session(bench.peer(), {.initiator = false, .current = false});
  send();
  const auto messages = bench.messages_to_peer();
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_TRUE(current.open(messages[0]));
}

TEST_P(Outbound, InitiatorRekeysWhenSendingFrom120Seconds) {  // T-07, T-08
  bench.add_session(bench.peer());
  send();
  bench.events();
  bench.advance(120s - 1ns);
  send();
  EXPECT_TRUE(bench.events().empty());
  bench.advance(1ns);
  send({frame(), frame()});
  EXPECT_EQ(bench.messages_to_peer().size(), 4u);  // the old key still carries them
  EXPECT_EQ(kinds(bench.events()), std::vector{EventKind::kNeedHandshake});
}

TEST_P(Outbound, ResponderDoesNotRekeyWhenSending) {  // T-09
  bench.add_session(bench.peer(), {.initiator = false});
  send();
  bench.events();
  bench.advance(170s);
  send();
  EXPECT_EQ(bench.messages_to_peer().size(), 2u);
  EXPECT_TRUE(bench.events().empty());
}

TEST_P(Outbound, KeyOf180SecondsSendsNothing) {  // T-11
  bench.add_session(bench.peer());
  bench.advance(180s);
  send();
  EXPECT_TRUE(bench.messages_to_peer().empty());
  EXPECT_EQ(bench.staged().packets(), 1u);
  EXPECT_EQ(kinds(bench.events()), std::vector{EventKind::kNeedHandshake});
}

TEST_P(Outbound, RekeysAfterTooManyMessagesInEitherRole) {  // T-15
  for (const bool initiator : {true, false}) {
    RemoteSession& session = bench.add_session(bench.peer(), {.initiator = initiator});
    session.keypair->sending->counter = kRekeyAfterMessages;
    send();
    EXPECT_TRUE(bench.events().empty());
    send();
    EXPECT_EQ(kinds(bench.events()), std::vector{EventKind::kNeedHandshake});
    EXPECT_EQ(bench.messages_to_peer().size(), 2u);
  }
}

TEST_P(Outbound, NothingIsSentBeyondTheLastCounter) {  // T-16
  RemoteSession& session = bench.add_session(bench.peer());
  session.keypair->sending->counter = kRejectAfterMessages - 2;
  send({frame(1), frame(2), frame(3), frame(4)});
  const auto messages = bench.messages_to_peer();
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(header_of(messages[1]).counter.host(), kRejectAfterMessages - 1);
  EXPECT_EQ(bench.staged().packets(), 2u);
  send(frame(5));
  EXPECT_EQ(bench.staged().packets(), 3u);
  const auto events = kinds(bench.events());
  EXPECT_EQ(std::count(events.begin(), events.end(), EventKind::kNeedHandshake), 1);
  RemoteSession& next = bench.add_session(bench.peer());
  bench.run(flush_staged, bench.peer().id);
  const auto rest = bench.messages_to_peer();
  ASSERT_EQ(rest.size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(inner_length(*next.open(rest[i])), 28 + 3 + i);
}

TEST_P(Outbound, WithdrawnKeySendsNothing) {
  bench.add_session(bench.peer()).keypair->sending->usable = false;
  send();
  EXPECT_EQ(bench.staged().packets(), 1u);
}

TEST_P(Outbound, PeerWithoutEndpointIsUnreachable) {  // I-14
  bench.peer().publish_outer(nullptr);
  send();
  EXPECT_EQ(bench.drops(), (Drops{{"no_endpoint", 1}}));
  EXPECT_TRUE(bench.events().empty());
  const auto punted = bench.punted();
  ASSERT_EQ(punted.size(), 1u);
  EXPECT_EQ(punted[0].reason, PuntReason::kNoEndpoint);
  EXPECT_EQ(hex(punted[0].bytes), hex(packet(64, {.ttl = 63})));
  EXPECT_EQ(punted[0].l2_size, 0);
}

TEST_P(Outbound, DestinationWithoutPeerIsUnreachable) {  // D-19
  send(PacketBuilder(64).ipv4(kHost, "10.0.0.9").ethernet(kLanMac, kHostMac));
  EXPECT_EQ(bench.drops(), (Drops{{"no_peer", 1}}));
  const auto punted = bench.punted();
  ASSERT_EQ(punted.size(), 1u);
  EXPECT_EQ(punted[0].reason, PuntReason::kNoPeer);
  EXPECT_EQ(punted[0].tunnel, kTunnel);
  EXPECT_EQ(punted[0].in_port, kLan);
}

TEST_P(Outbound, ARoutesGatewayChoosesAmongThePeersOfAPrefix) {
  Peer& near = bench.add_peer({"10.0.0.3/32"}, "198.51.100.3");
  Peer& late = bench.add_peer({"10.0.0.4/32", "10.7.0.0/16"}, "198.51.100.4");
  for (Peer* peer : {&near, &late}) bench.add_session(*peer);
  bench.share("10.8.0.0/15", {&bench.peer(), &near, &late});
  NextHop& hop = bench.hop_to("10.0.0.0/8");
  hop = {.action = NextHop::Action::kTunnel, .mtu = 1420, .tunnel = kTunnel};
  const auto sent = [](const Peer& peer) { return peer.current.load()->counter.load(); };
  const auto sent_to = [&](Peer& peer, const char* to) {
    const uint64_t before = sent(peer);
    send(PacketBuilder(64).udp(1000, 2000).ipv4(kHost, to).ethernet(kLanMac, kHostMac));
    bench.release(kWan);
    EXPECT_EQ(bench.drops(), Drops{});
    return sent(peer) == before + 1;
  };
  EXPECT_TRUE(sent_to(late, "10.8.0.1")) << "without a gateway: who has had it last";
  hop.gateway = *parse_address("10.0.0.3");
  EXPECT_TRUE(sent_to(near, "10.8.0.1"));
  EXPECT_TRUE(sent_to(late, "10.7.0.1")) << "a prefix of its own is its own, whatever the gateway";
  hop.gateway = *parse_address("10.7.0.1");
  EXPECT_TRUE(sent_to(late, "10.8.0.1"));
  hop.gateway = *parse_address("10.99.0.1");
  EXPECT_TRUE(sent_to(late, "10.8.0.1")) << "nobody's gateway";
  // What Linux has routed into the tunnel follows the same table.
  hop.gateway = *parse_address("10.0.0.3");
  const uint64_t before = sent(near);
  bench.enter(process_tunnel_bound, {PacketBuilder(64).udp(1, 2).ipv4("10.0.0.1", "10.9.0.1")});
  EXPECT_EQ(sent(near), before + 1);
  bench.release(kWan);
}

TEST_P(Outbound, EndpointWithoutRouteDropsByName) {
  bench.add_session(bench.peer());
  bench.outer_of(bench.peer()).state = OuterRoute::State::kNoRoute;
  send();
  EXPECT_EQ(bench.drops(), (Drops{{"no_outer_route", 1}}));
}

TEST_P(Outbound, PacketsWaitForTheEndpointsNeighbour) {
  bench.add_session(bench.peer());
  bench.outer_of(bench.peer()).state = OuterRoute::State::kUnresolved;
  send({frame(), frame()});
  EXPECT_EQ(bench.staged().packets(), 2u);
  bench.run(flush_staged, bench.peer().id);
  EXPECT_EQ(bench.staged().packets(), 2u);
  bench.outer_of(bench.peer()).state = OuterRoute::State::kReady;
  bench.run(flush_staged, bench.peer().id);
  EXPECT_EQ(bench.messages_to_peer().size(), 2u);
}

TEST_P(Outbound, TunnelThatIsDownTakesNothing) {
  NextHop& hop = bench.hop_to("10.7.0.0/16");
  hop.action = NextHop::Action::kTunnel;
  hop.tunnel = kTunnelDown;
  send(PacketBuilder(64).ipv4(kHost, "10.7.0.9").ethernet(kLanMac, kHostMac));
  EXPECT_EQ(bench.drops(), (Drops{{"tunnel_down", 1}}));
}

TEST_P(Outbound, WhatLinuxSendsIntoTheTunnelIsChecked) {
  bench.add_session(bench.peer());
  bench.enter(process_tunnel_bound, {packet()});
  EXPECT_EQ(bench.messages_to_peer().size(), 1u);
  Octets wrong = packet();
  wrong[0] = std::byte{0x55};
  bench.enter(process_tunnel_bound, {wrong});
  EXPECT_EQ(bench.drops(), (Drops{{"inner_unroutable", 1}}));
}

// Forwarded or from Linux; what the tunnel does not ask for stays.
TEST_P(Outbound, SegmentsAreClampedIfTheTunnelAsksForIt) {
  RemoteSession& session = bench.add_session(bench.peer());
  TunnelView& tunnel = bench.published().tunnels[kTunnel.value];
  for (const bool asked : {false, true}) {
    tunnel.mss_clamp = asked;
    const uint16_t mss = asked ? static_cast<uint16_t>(tunnel.mtu - 40) : 1460;
    send(PacketBuilder(tcp_syn(1460, kHost, kInX)).ethernet(kLanMac, kHostMac));
    bench.enter(process_tunnel_bound, {tcp_syn(1460, "10.0.0.1", kInX)});
    const auto messages = bench.messages_to_peer();
    ASSERT_EQ(messages.size(), 2u);
    EXPECT_EQ(session.open(messages[0]), padded(tcp_syn(mss, kHost, kInX, 63), 48)) << asked;
    EXPECT_EQ(session.open(messages[1]), padded(tcp_syn(mss, "10.0.0.1", kInX), 48)) << asked;
  }
}

TEST_P(Outbound, KeepaliveIsEmptyAndNotEct) {  // D-24, T-06
  RemoteSession& session = bench.add_session(bench.peer());
  bench.run(send_keepalive, bench.peer().id);
  const auto frames = bench.transmitted(kWan);
  ASSERT_EQ(frames.size(), 1u);
  ASSERT_EQ(frames[0].size(), 42u + 32u);
  EXPECT_EQ(frames[0][15], std::byte{0});
  EXPECT_EQ(session.open(std::span(frames[0]).subspan(42)), Octets{});
  EXPECT_EQ(session.keypair->sending->bytes, 32u);
  EXPECT_EQ(bench.peer().unanswered_data_sent_since, 0);
  EXPECT_NE(bench.peer().last_sent_any, 0);
}

TEST_P(Outbound, KeepaliveGivesWayToStagedPackets) {
  send();
  RemoteSession& session = bench.add_session(bench.peer());
  bench.run(send_keepalive, bench.peer().id);
  const auto messages = bench.messages_to_peer();
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_NE(session.open(messages[0])->size(), 0u);
}

TEST_P(Outbound, KeepaliveWithoutKeyAsksForAHandshake) {
  bench.run(send_keepalive, bench.peer().id);
  EXPECT_TRUE(bench.messages_to_peer().empty());
  EXPECT_EQ(kinds(bench.events()), std::vector{EventKind::kNeedHandshake});
}

TEST_P(Outbound, StampsAndCountersOfWhatWasSent) {
  RemoteSession& session = bench.add_session(bench.peer());
  Peer& peer = bench.peer();
  peer.unacknowledged_data_received_since = 5;
  peer.need_another_keepalive = true;
  send({frame(), frame()});
  EXPECT_EQ(session.keypair->sending->counter, 2u);
  EXPECT_EQ(session.keypair->sending->bytes, 2u * (96 + 32));
  EXPECT_EQ(peer.last_sent_any, bench.worker().now.ns);
  EXPECT_EQ(peer.unanswered_data_sent_since, bench.worker().now.ns);
  EXPECT_EQ(peer.unacknowledged_data_received_since, 0);
  EXPECT_FALSE(peer.need_another_keepalive);
  const int64_t first = bench.worker().now.ns;
  bench.advance(1s);
  send();
  EXPECT_EQ(peer.unanswered_data_sent_since, first);
  EXPECT_EQ(peer.last_sent_any, bench.worker().now.ns);
  EXPECT_TRUE(bench.events().empty());
}

TEST_P(Outbound, SplitsOuterPacketsThatThePathIsTooNarrowFor) {
  RemoteSession& session = bench.add_session(bench.peer());
  for (const char* endpoint : {"198.51.100.2", "2001:db8::2"}) {
    bench.set_endpoint(bench.peer(), endpoint);
    const bool ipv4 = endpoint[0] == '1';
    const uint16_t inner_mtu = ipv4 ? 1220 : 1200;
    bench.outer_of(bench.peer()).mtu = 1280;
    bench.outer_of(bench.peer()).inner_mtu = inner_mtu;
    // What IPv6 promises every sender.
    const auto inner = [](uint8_t hop_limit) -> Octets {
      return PacketBuilder(1240).ipv6("fd01::2", "fd02::2", {.hop_limit = hop_limit});
    };
    send(PacketBuilder(inner(64)).ethernet(kLanMac, kHostMac));
    const auto frames = bench.transmitted(kWan);
    ASSERT_EQ(frames.size(), 2u);
    Octets datagram;
    for (const Octets& fragment : frames) {
      EXPECT_LE(fragment.size(), 14u + 1280u);
      if (ipv4) {
        EXPECT_EQ(checksum_fold(checksum_add(std::span(fragment).subspan(14, 20))), 0);
      }
      datagram.insert(datagram.end(), fragment.begin() + (ipv4 ? 34 : 62), fragment.end());
    }
    const Octets message(datagram.begin() + 8, datagram.end());
    Octets expected = inner(63);
    expected.resize(padded_size(expected.size(), inner_mtu));
    EXPECT_EQ(session.open(message), expected);
    // The checksum spans the whole datagram.
    const IpAddress from = *parse_address(ipv4 ? "198.51.100.1" : "2001:db8::1");
    EXPECT_EQ(transport_checksum(from, *parse_address(endpoint), kProtocolUdp, datagram), 0);
  }
  EXPECT_EQ(bench.drops(), Drops{});
}

TEST_P(Outbound, LeavesTheChecksumToAPortThatFillsItIn) {
  PipelineBench offloading(1, GetParam());
  offloading.port(kWan).offers.udp_checksum = true;
  TransmitQueues transmit(offloading.worker().ports, WorkerId(0), *offloading.worker().drops,
                          *offloading.worker().stats);
  offloading.worker().transmit = &transmit;
  offloading.add_session(offloading.peer());
  offloading.receive(frame(), kLan);
  transmit.flush();
  ASSERT_EQ(offloading.port(kWan).packets.size(), 1u);
  const rte_mbuf* m = offloading.port(kWan).packets[0];
  EXPECT_NE(m->ol_flags & RTE_MBUF_F_TX_UDP_CKSUM, 0u);
  EXPECT_EQ(m->l2_len, 14);
  EXPECT_EQ(m->l3_len, 20);
}

// A burst fills the port's queue up: what flushing costs is transmit's, not the stage's in which it happened.
TEST_P(Outbound, TransmitOwnsItsCostWhereverAQueueFillsUp) {
  constexpr uint64_t kSlow = 50'000'000;  // cycles, far more than the rest of a burst takes
  bench.add_session(bench.peer());
  bench.port(kWan).cycles_per_call = kSlow;
  send(std::vector<Octets>(64, frame()));
  EXPECT_EQ(bench.messages_to_peer().size(), 64u);
  const auto& stages = bench.worker().stats->stages;
  const auto of = [&](Stage stage) -> const StageCounters& { return stages[static_cast<size_t>(stage)]; };
  EXPECT_EQ(of(Stage::transmit).packets, 64u);
  EXPECT_EQ(of(Stage::transmit).calls, 1u);
  EXPECT_GE(of(Stage::transmit).cycles, kSlow);
  EXPECT_EQ(of(Stage::finish_outer).packets, 64u);
  EXPECT_GT(of(Stage::finish_outer).cycles, 0u);
  EXPECT_LT(of(Stage::finish_outer).cycles, kSlow);
}

}  // namespace
}  // namespace sluice::test
