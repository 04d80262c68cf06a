// WireGuard to IP: what a data message must pass, in which order, and what each outcome leaves behind.
#include <gtest/gtest.h>

#include "dataplane/wire/ip.h"
#include "dataplane/wire/limits.h"
#include "tests/support/hex.h"
#include "tests/support/pipeline_bench.h"
#include "tests/support/vectors.h"

namespace sluice::test {
namespace {

using Drops = std::map<std::string, uint64_t>;
constexpr const char *kInX = "10.2.0.2", *kHost = "10.1.0.2", *kInUs = "10.0.0.1";

std::vector<EventKind> kinds(const std::vector<Event>& events) {
  std::vector<EventKind> all;
  for (const Event& event : events) all.push_back(event.kind);
  return all;
}

// Every engine this machine has.
class Inbound : public testing::TestWithParam<std::string_view> {
 protected:
  Inbound() { bench.events(); }

  static Octets to_host(size_t size = 64) { return PacketBuilder(size).udp(1000, 2000).ipv4(kInX, kHost); }
  static Octets to_us(size_t size = 64) { return PacketBuilder(size).udp(1000, 2000).ipv4(kInX, kInUs); }

  // Exactly this packet came out of the tunnel for the gateway, and nothing else happened to any other.
  void expect_delivered(const Octets& inner) {
    EXPECT_EQ(bench.drops(), Drops{});
    const auto punted = bench.punted();
    ASSERT_EQ(punted.size(), 1u);
    EXPECT_EQ(punted[0].reason, PuntReason::kLocal);
    EXPECT_EQ(punted[0].in_port, kNoPort);
    EXPECT_EQ(punted[0].tunnel, kTunnel);
    EXPECT_EQ(punted[0].l2_size, 0);
    EXPECT_EQ(hex(punted[0].bytes), hex(inner));
  }
  void expect_drop(const char* reason) {
    EXPECT_EQ(bench.drops(), (Drops{{reason, 1}}));
    EXPECT_TRUE(bench.punted().empty());
    EXPECT_TRUE(bench.transmitted(kLan).empty());
  }
  // What unauthentic or replayed input must leave alone.
  struct State {
    uint64_t rx_bytes, window;
    int64_t received;
    bool operator==(const State&) const = default;
  };
  State state() {
    return {session.keypair->receiving.bytes, session.keypair->receiving.window.received(),
            bench.peer().last_received_any};
  }
  void expect_silent(const Octets& frame, const char* reason) {
    const State before = state();
    bench.receive(frame);
    expect_drop(reason);
    EXPECT_EQ(state(), before);
    EXPECT_TRUE(bench.events().empty());
  }
  Octets from_elsewhere(const Octets& message) {
    return PacketBuilder(message)
        .udp(999, kListenPort)
        .ipv4("203.0.113.7", "198.51.100.1")
        .ethernet(kWanMac, kRouterMac);
  }

  PipelineBench bench{1, GetParam()};
  RemoteSession& session = bench.add_session(bench.peer());
};

INSTANTIATE_TEST_SUITE_P(Engines, Inbound, testing::ValuesIn(available_engines()), [](const auto& named) {
  std::string name(named.param);
  std::erase(name, '-');
  return name;
});

TEST_P(Inbound, ForwardsWhatItDecrypts) {
  bench.receive_message(session, 0, to_host());
  EXPECT_EQ(bench.drops(), Drops{});
  const auto frames = bench.transmitted(kLan);
  ASSERT_EQ(frames.size(), 1u);
  const Octets expected = PacketBuilder(64).udp(1000, 2000).ipv4(kInX, kHost, {.ttl = 63}).ethernet(kHostMac, kLanMac);
  EXPECT_EQ(hex(frames[0]), hex(expected));
}

TEST_P(Inbound, AllFourCombinationsOfFamilies) {  // D-02
  const Octets v6 = PacketBuilder(64).udp(1000, 2000).ipv6("fd02::2", "fd01::2");
  const Octets v6_out =
      PacketBuilder(64).udp(1000, 2000).ipv6("fd02::2", "fd01::2", {.hop_limit = 63}).ethernet(kHostMac, kLanMac);
  const Octets v4_out = PacketBuilder(64).udp(1000, 2000).ipv4(kInX, kHost, {.ttl = 63}).ethernet(kHostMac, kLanMac);
  bench.receive({bench.datagram(session.seal(0, to_host())), bench.datagram(session.seal(1, v6)),
                 bench.datagram6(session.seal(2, to_host())), bench.datagram6(session.seal(3, v6))});
  const auto frames = bench.transmitted(kLan);
  ASSERT_EQ(frames.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(hex(frames[i]), hex(i % 2 == 0 ? v4_out : v6_out)) << i;
  EXPECT_EQ(bench.drops(), Drops{});
}

TEST_P(Inbound, KeepsTheOrderOfABurst) {
  std::vector<Octets> frames;
  for (uint64_t i = 0; i < 64; ++i) frames.push_back(bench.datagram(session.seal(i, to_host(i))));
  bench.receive(frames);
  const auto out = bench.transmitted(kLan);
  ASSERT_EQ(out.size(), 64u);
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(out[i].size(), 14 + 20 + 8 + i);
}

// The cipher adds up what it authenticates: wherever a bit has changed, it is the checksum that counts.
TEST_P(Inbound, WhatWasDamagedOnTheWayIsNotTakenForForged) {  // D-16
  constexpr size_t kUdp4 = 14 + 20, kUdp6 = 14 + 40, kData = sizeof(UdpHeader) + sizeof(DataHeader);
  bench.receive_message(session, 0, to_us());
  expect_delivered(to_us());
  bench.events();
  for (const size_t size : {0u, 1u, 31u, 64u, 65u, 1400u}) {
    const Octets message = session.seal(1, to_us(size));
    const auto damaged = [](Octets frame, size_t at) {
      frame[at] ^= std::byte{4};
      return frame;
    };
    const Octets frame4 = bench.datagram(message), frame6 = bench.datagram6(message);
    for (const auto& [frame, udp] : {std::pair{frame4, kUdp4}, std::pair{frame6, kUdp6}}) {
      SCOPED_TRACE(std::to_string(size) + " bytes, UDP at " + std::to_string(udp));
      const size_t text = udp + kData, counter = text - 8, tag = frame.size() - kTagSize;
      for (const size_t at : {udp, udp + 6, counter, text, text + 1, tag - 1, tag, frame.size() - 1})
        expect_silent(damaged(frame, at), "udp_checksum");
    }
    expect_silent(damaged(frame6, kUdp6 - 32), "udp_checksum");  // its source: nobody moves there
    Octets forged = message;
    forged.back() ^= std::byte{4};
    expect_silent(bench.datagram(forged), "data_authentication");
    expect_silent(bench.datagram6(forged), "data_authentication");
  }
  bench.receive_message(session, 1, to_us());
  expect_delivered(to_us());
}

TEST_P(Inbound, MalformedDataVectorsEachAtTheirStage) {  // M-01
  const auto file = load_vectors("malformed_data.json");
  const std::map<std::string, const char*> reasons{
      {"format", "message_invalid"}, {"index", "data_unknown_index"},   {"auth", "data_authentication"},
      {"replay", "data_replay"},     {"inner-type", "inner_malformed"}, {"inner-length", "inner_malformed"},
      {"source", "inner_source"}};
  const auto key = from_hex(file["key"].get<std::string>());
  for (const auto& vector : file["vectors"]) {
    SCOPED_TRACE(vector["id"].get<std::string>());
    PipelineBench fresh(1, GetParam());
    RemoteSession& victim = fresh.add_session(fresh.peer(), {.initiator = false, .index = file["receiver_index"]});
    std::memcpy(victim.keypair->receiving.secret.data(), key.data(), key.size());
    victim.send_key = victim.keypair->receiving.secret.clone();
    fresh.receive_message(from_hex(vector["message"].get<std::string>()));
    const std::string stage = vector["dropped_at"];
    const bool authentic = stage.empty() || stage.starts_with("inner") || stage == "source";
    EXPECT_EQ(fresh.drops(), stage.empty() ? Drops{} : (Drops{{reasons.at(stage), 1}}));
    const auto events = kinds(fresh.events());
    EXPECT_EQ(std::count(events.begin(), events.end(), EventKind::kKeyConfirmed), authentic ? 1 : 0);
    if (!authentic) {
      EXPECT_TRUE(events.empty());
    }
    const auto punted = fresh.punted();
    const std::string inner = vector.value("inner", "");
    ASSERT_EQ(punted.size(), inner.empty() ? 0u : 1u);
    if (!inner.empty()) {
      EXPECT_EQ(hex(punted[0].bytes), inner);
    }
    // The session survives whatever it was.
    fresh.receive_message(victim.seal(6, PacketBuilder(8).ipv4("10.0.0.2", kInUs)));
    EXPECT_EQ(fresh.drops(), Drops{});
    EXPECT_EQ(fresh.punted().size(), 1u);
  }
}

TEST_P(Inbound, DataVectorsAreOpened) {  // D-01
  const auto file = load_vectors("data.json");
  const auto key = from_hex(file["key"].get<std::string>());
  for (const auto& vector : file["vectors"]) {
    SCOPED_TRACE(vector["id"].get<std::string>());
    PipelineBench fresh(1, GetParam());
    RemoteSession& victim = fresh.add_session(fresh.peer(), {.index = file["receiver_index"]});
    std::memcpy(victim.keypair->receiving.secret.data(), key.data(), key.size());
    const std::string plaintext = vector["plaintext"];
    const Octets inner = from_hex(plaintext);
    fresh.receive_message(from_hex(vector["message"].get<std::string>()));
    const Drops malformed{{"inner_malformed", 1}};  // too short for an IP packet: tests the cipher only
    EXPECT_EQ(fresh.drops(), inner.size() >= 20 || inner.empty() ? Drops{} : malformed);
    EXPECT_EQ(victim.keypair->receiving.window.received(), std::stoull(vector["counter"].get<std::string>()) + 1);
    const auto punted = fresh.punted();
    if (inner.size() >= 20 && punted.size() == 1) {
      EXPECT_EQ(hex(punted[0].bytes), plaintext);
    }
    EXPECT_EQ(punted.size(), inner.size() >= 20 ? 1u : 0u);
  }
}

TEST_P(Inbound, PaddingOfAnySizeAndContentIsCutOff) {  // D-06
  uint64_t counter = 0;
  for (const size_t padding : {0u, 1u, 7u, 500u}) {
    Octets plaintext = to_us();
    plaintext.insert(plaintext.end(), padding, std::byte{0x5a});
    bench.receive_message(session, counter++, plaintext);
    expect_delivered(to_us());
  }
}

TEST_P(Inbound, SegmentsAreClampedIfTheTunnelAsksForIt) {
  TunnelView& tunnel = bench.published().tunnels[kTunnel.value];
  uint64_t counter = 0;
  for (const bool asked : {false, true}) {
    tunnel.mss_clamp = asked;
    bench.receive_message(session, counter++, tcp_syn(1460, kInX, kInUs));
    expect_delivered(tcp_syn(asked ? static_cast<uint16_t>(tunnel.mtu - 40) : 1460, kInX, kInUs));
  }
}

TEST_P(Inbound, EcnIsDecapsulatedAsLinuxDoes) {  // D-11
  const std::map<std::string, uint8_t> codes{{"Not-ECT", 0}, {"ECT(1)", 1}, {"ECT(0)", 2}, {"CE", 3}};
  const auto file = load_vectors("small.json");
  uint64_t counter = 0;
  for (const auto& vector : file["ecn"]["decapsulate"]) {
    const uint8_t inner = codes.at(vector["inner"]), outer = codes.at(vector["outer"]);
    const uint8_t after = codes.at(vector["inner_after"]);
    constexpr uint8_t kDscp = 46 << 2;
    const auto v4 = [&](uint8_t ecn) {
      return PacketBuilder(8).ipv4(kInX, kInUs, {.tos = static_cast<uint8_t>(kDscp | ecn)}).build();
    };
    const auto v6 = [&](uint8_t ecn) {
      return PacketBuilder(8).ipv6("fd02::2", "fd00::1", {.traffic_class = static_cast<uint8_t>(kDscp | ecn)}).build();
    };
    bench.receive(PacketBuilder(session.seal(counter++, v4(inner)))
                      .udp(51820, kListenPort)
                      .ipv4("198.51.100.2", "198.51.100.1", {.tos = outer})
                      .ethernet(kWanMac, kRouterMac));
    expect_delivered(v4(after));
    bench.receive(PacketBuilder(session.seal(counter++, v6(inner)))
                      .udp(51820, kListenPort)
                      .ipv6("2001:db8::2", "2001:db8::1", {.traffic_class = outer})
                      .ethernet(kWanMac, kRouterMac));
    expect_delivered(v6(after));
  }
}

TEST_P(Inbound, InnerFragmentsAreDeliveredEachByItsSource) {  // D-14
  const Octets first = PacketBuilder(16).ipv4(kInX, kInUs, {.more_fragments = true});
  const Octets last = PacketBuilder(16).ipv4(kInX, kInUs, {.offset = 16});
  bench.receive_message(session, 0, first);
  expect_delivered(first);
  bench.receive_message(session, 1, last);
  expect_delivered(last);
  bench.receive_message(session, 2, PacketBuilder(16).ipv4("10.3.0.1", kInUs, {.offset = 16}));
  expect_drop("inner_source");
}

TEST_P(Inbound, KeepaliveCountsItsBytesAndDeliversNothing) {  // D-24
  bench.receive({bench.datagram(session.seal(0, to_host())), bench.datagram(session.seal(1, {})),
                 bench.datagram(session.seal(2, to_host()))});
  EXPECT_EQ(bench.transmitted(kLan).size(), 2u);
  EXPECT_EQ(session.keypair->receiving.bytes, 2 * (to_host().size() + 32) + 32);
  EXPECT_EQ(bench.drops(), Drops{});
}

TEST_P(Inbound, EveryOwnerOfASharedPrefixMaySendFromIt) {
  Peer& other = bench.add_peer({}, "198.51.100.3");
  bench.share("10.3.0.0/16", {&bench.peer(), &other});
  const Octets packet = PacketBuilder(8).ipv4("10.3.0.1", kInUs);
  bench.receive_message(session, 0, packet);
  expect_delivered(packet);
  Peer& third = bench.add_peer({}, "198.51.100.4");
  bench.receive_message(bench.add_session(third), 0, packet);
  expect_drop("inner_source");
}

TEST_P(Inbound, RxCountsOnlyWhatMayComeFromThePeer) {
  bench.receive_message(session, 0, PacketBuilder(8).ipv4("10.3.0.1", kInUs));
  expect_drop("inner_source");
  EXPECT_EQ(session.keypair->receiving.bytes, 0u);
  EXPECT_NE(bench.peer().last_received_any, 0);
}

TEST_P(Inbound, ReplayIsSilent) {  // W-02
  bench.receive_message(session, 5, to_us());
  expect_delivered(to_us());
  bench.events();
  expect_silent(from_elsewhere(session.seal(5, to_us())), "data_replay");
}

TEST_P(Inbound, OldestCounterOfTheWindow) {  // W-03
  bench.receive_message(session, 8228, to_us());
  expect_delivered(to_us());
  bench.receive_message(session, 100, to_us());
  expect_delivered(to_us());
  bench.events();
  expect_silent(bench.datagram(session.seal(100, to_us())), "data_replay");
  expect_silent(bench.datagram(session.seal(99, to_us())), "data_replay");
}

TEST_P(Inbound, CountersBeyondTheLimitDoNotDisturb) {  // W-04
  for (const uint64_t counter : {UINT64_MAX, UINT64_MAX - 8129})
    expect_silent(bench.datagram(session.seal(counter, to_us())), "data_replay");
  bench.receive_message(session, 0, to_us());
  expect_delivered(to_us());
}

TEST_P(Inbound, LastCounterThatIsAccepted) {  // W-05
  const uint64_t last = UINT64_MAX - 8193;    // 2^64 - 8194
  bench.receive_message(session, last, to_us());
  expect_delivered(to_us());
  bench.events();
  expect_silent(bench.datagram(session.seal(last, to_us())), "data_replay");
  expect_silent(bench.datagram(session.seal(1, to_us())), "data_replay");
  bench.receive_message(session, last - 8128, to_us());
  expect_delivered(to_us());
}

TEST_P(Inbound, ForgedHugeCounterLeavesTheWindowAlone) {  // W-06
  Octets forged = session.seal(1u << 20, to_us());
  forged.back() ^= std::byte{1};
  expect_silent(bench.datagram(forged), "data_authentication");
  bench.receive_message(session, 0, to_us());
  expect_delivered(to_us());
}

TEST_P(Inbound, NewKeypairHasAnEmptyWindow) {  // W-07
  bench.receive_message(session, 0, to_us());
  expect_delivered(to_us());
  RemoteSession& next = bench.add_session(bench.peer());
  bench.receive_message(next, 0, to_us());
  expect_delivered(to_us());
}

TEST_P(Inbound, AuthenticDataFromElsewhereIsReported) {
  bench.receive(from_elsewhere(session.seal(0, to_us())));
  expect_delivered(to_us());
  std::vector<Event> moved;
  for (const Event& event : bench.events())
    if (event.kind == EventKind::kEndpointMoved) moved.push_back(event);
  ASSERT_EQ(moved.size(), 1u);
  EXPECT_EQ(moved[0].remote, *parse_endpoint("203.0.113.7:999"));
  EXPECT_EQ(moved[0].local, *parse_address("198.51.100.1"));
  EXPECT_EQ(moved[0].peer, bench.peer().id);
  // Reported once, and again only if control has not followed for a while.
  bench.receive(from_elsewhere(session.seal(1, to_us())));
  EXPECT_TRUE(bench.events().empty());
  bench.advance(100ms);
  bench.receive(from_elsewhere(session.seal(2, to_us())));
  EXPECT_EQ(kinds(bench.events()), std::vector{EventKind::kEndpointMoved});
  bench.set_endpoint(bench.peer(), "203.0.113.7", 999);
  bench.advance(100ms);
  bench.receive(from_elsewhere(session.seal(3, to_us())));
  EXPECT_TRUE(bench.events().empty());
}

// What a message is compared with is where the peer is believed to be now, and not where it was when the last came.
TEST_P(Inbound, FormerPlaceIsReportedOnceControlHasLeftIt) {
  bench.receive_message(session, 0, {});
  bench.receive_message(session, 1, {});
  EXPECT_EQ(kinds(bench.events()), std::vector<EventKind>{});
  bench.set_endpoint(bench.peer(), "203.0.113.7", 999);
  bench.receive_message(session, 2, {});
  EXPECT_EQ(kinds(bench.events()), std::vector{EventKind::kEndpointMoved});
  bench.receive(from_elsewhere(session.seal(3, {})));
  EXPECT_EQ(kinds(bench.events()), std::vector{EventKind::kEndpointMoved});
}

// Of several moves that control does not know yet the last one counts.
TEST_P(Inbound, ReturnIsReportedToo) {
  bench.receive_message(session, 0, {});
  bench.receive(from_elsewhere(session.seal(1, {})));
  EXPECT_EQ(kinds(bench.events()), std::vector{EventKind::kEndpointMoved});
  bench.receive_message(session, 2, {});
  EXPECT_EQ(kinds(bench.events()), std::vector{EventKind::kEndpointMoved});
  bench.receive_message(session, 3, {});
  EXPECT_EQ(kinds(bench.events()), std::vector<EventKind>{});
}

TEST_P(Inbound, EveryPartOfAnOuterIpv6PlaceCounts) {
  uint64_t counter = 0;
  const auto from = [&](const char* source, const char* destination, uint16_t port) {
    bench.receive(PacketBuilder(session.seal(counter++, {}))
                      .udp(port, kListenPort)
                      .ipv6(source, destination)
                      .ethernet(kWanMac, kRouterMac));
    return kinds(bench.events());
  };
  const std::vector moved{EventKind::kEndpointMoved};
  bench.set_endpoint(bench.peer(), "2001:db8::2", 51820);
  for (const auto& [source, destination, port] : {std::tuple{"2001:db8::3", "2001:db8::1", 51820},
                                                  {"2001:db9::2", "2001:db8::1", 51820},
                                                  {"2001:db8::2", "fd00::1", 51820},
                                                  {"2001:db8::2", "2001:db8::1", 51821}}) {
    bench.set_endpoint(bench.peer(), "2001:db8::2", 51820);
    EXPECT_EQ(from("2001:db8::2", "2001:db8::1", 51820), std::vector<EventKind>{});
    EXPECT_EQ(from(source, destination, static_cast<uint16_t>(port)), moved) << source << " " << destination;
  }
}

TEST_P(Inbound, KeepaliveRoams) {
  bench.receive(from_elsewhere(session.seal(0, {})));
  const auto events = kinds(bench.events());
  EXPECT_EQ(std::count(events.begin(), events.end(), EventKind::kEndpointMoved), 1);
}

TEST_P(Inbound, UnauthenticDataFromElsewhereDoesNotRoam) {
  Octets forged = session.seal(0, to_us());
  forged[20] ^= std::byte{1};
  expect_silent(from_elsewhere(forged), "data_authentication");
}

TEST_P(Inbound, ForbiddenInnerSourceRoamsAllTheSame) {
  bench.receive(from_elsewhere(session.seal(0, PacketBuilder(8).ipv4("10.3.0.1", kInUs))));
  expect_drop("inner_source");
  const auto events = kinds(bench.events());
  EXPECT_EQ(std::count(events.begin(), events.end(), EventKind::kEndpointMoved), 1);
}

TEST_P(Inbound, AnotherAddressOfOursIsReportedToo) {
  bench.receive(PacketBuilder(session.seal(0, {}))
                    .udp(51820, kListenPort)
                    .ipv4("198.51.100.2", "10.1.0.1")
                    .ethernet(kWanMac, kRouterMac));
  std::vector<Event> events = bench.events();
  std::erase_if(events, [](const Event& event) { return event.kind != EventKind::kEndpointMoved; });
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].local, *parse_address("10.1.0.1"));
}

TEST_P(Inbound, PeerWithoutAnEndpointGetsOne) {
  bench.peer().publish_outer(nullptr);
  bench.receive_message(session, 0, to_us());
  expect_delivered(to_us());
  const auto events = kinds(bench.events());
  EXPECT_EQ(std::count(events.begin(), events.end(), EventKind::kEndpointMoved), 1);
}

TEST_P(Inbound, KeepaliveConfirmsAResponderKeypairOnce) {  // H-18
  RemoteSession& next = bench.add_session(bench.peer(), {.initiator = false, .current = false});
  bench.receive_message(next, 0, {});
  const std::vector<Event> events = bench.events();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].kind, EventKind::kKeyConfirmed);
  EXPECT_EQ(events[0].index, next.keypair->receiving.local_index);
  bench.receive_message(next, 1, {});
  EXPECT_TRUE(bench.events().empty());
}

TEST_P(Inbound, ForbiddenSourceConfirmsAllTheSame) {  // H-19
  RemoteSession& next = bench.add_session(bench.peer(), {.initiator = false, .current = false});
  bench.receive_message(next, 0, PacketBuilder(8).ipv4("10.3.0.1", kInUs));
  expect_drop("inner_source");
  EXPECT_TRUE(next.keypair->receiving.confirmed);
}

TEST_P(Inbound, ConfirmationIsPostedUntilTheRingTakesIt) {
  RemoteSession& next = bench.add_session(bench.peer(), {.initiator = false, .current = false});
  while (bench.mailbox().post_event({})) {
  }
  bench.receive_message(next, 0, {});
  EXPECT_FALSE(next.keypair->receiving.confirmed);
  bench.events();
  bench.receive_message(next, 1, {});
  EXPECT_TRUE(next.keypair->receiving.confirmed);
  const auto events = kinds(bench.events());
  EXPECT_EQ(std::count(events.begin(), events.end(), EventKind::kKeyConfirmed), 1);
}

TEST_P(Inbound, LastMinuteRekeyIsAskedForOnce) {  // T-10
  bench.advance(164s);
  bench.receive_message(session, 0, {});
  bench.events();
  bench.advance(1s);
  bench.receive_message(session, 1, {});
  EXPECT_EQ(kinds(bench.events()), std::vector{EventKind::kNeedHandshake});
  bench.receive_message(session, 2, {});
  EXPECT_TRUE(bench.events().empty());
}

TEST_P(Inbound, ResponderNeverRekeysByAge) {  // T-09
  RemoteSession& next = bench.add_session(bench.peer(), {.initiator = false});
  bench.receive_message(next, 0, {});
  bench.events();
  bench.advance(170s);
  bench.receive_message(next, 1, {});
  EXPECT_TRUE(bench.events().empty());
}

TEST_P(Inbound, KeypairExpiresAt180Seconds) {  // T-11
  bench.advance(180s - 1ns);
  bench.receive_message(session, 0, to_us());
  expect_delivered(to_us());
  bench.events();
  bench.advance(1ns);
  expect_silent(bench.datagram(session.seal(1, to_us())), "data_key_expired");
}

TEST_P(Inbound, WithdrawnKeypairReceivesNothing) {
  session.keypair->receiving.usable = false;
  expect_silent(bench.datagram(session.seal(0, to_us())), "data_key_expired");
}

TEST_P(Inbound, TunnelThatIsDownReceivesNothing) {
  bench.published().tunnels[kTunnel.value].up = false;
  expect_silent(bench.datagram(session.seal(0, to_us())), "tunnel_down");
}

TEST_P(Inbound, AnotherPeersIndexDoesNotAuthenticate) {  // M-10
  RemoteSession& other = bench.add_session(bench.add_peer({"10.4.0.0/16"}, "198.51.100.4"));
  expect_silent(bench.datagram(data_message(session.send_key, other.keypair->receiving.local_index, 0, to_us())),
                "data_authentication");
}

TEST_P(Inbound, MoreSpecificPrefixOfAnotherPeerWins) {  // M-16
  bench.add_peer({"10.2.0.2/32"});
  bench.receive_message(session, 0, to_us());
  expect_drop("inner_source");
}

TEST_P(Inbound, HostileInnerSourcesAreNotForwarded) {  // M-17
  Peer& anyone = bench.add_peer({"0.0.0.0/0", "::/0"}, "198.51.100.2");
  RemoteSession& from = bench.add_session(anyone);
  uint64_t counter = 0;
  for (const char* source : {"0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1", "10.1.0.1"}) {
    bench.receive_message(from, counter++, PacketBuilder(8).ipv4(source, kHost));
    expect_drop("martian_source");
  }
  bench.receive_message(from, counter++, PacketBuilder(8).ipv6("fe80::1", "fd01::2"));
  expect_drop("martian_source");
}

TEST_P(Inbound, InnerHeadersAreCheckedBeforeTheyAreForwarded) {
  const Octets wrong_sum = PacketBuilder(8).ipv4(kInX, kHost, {.checksum = 1});
  bench.receive_message(session, 0, wrong_sum);
  expect_drop("ip_checksum");
  Octets short_header = PacketBuilder(8).ipv4(kInX, kHost);
  short_header[0] = std::byte{0x44};
  bench.receive_message(session, 1, short_header);
  expect_drop("inner_malformed");
  EXPECT_EQ(session.keypair->receiving.bytes, 2 * (wrong_sum.size() + 32));  // the tunnel has nothing to say about them
}

TEST_P(Inbound, OneBadTagInABurstSpoilsNoOther) {
  std::vector<Octets> frames;
  for (uint64_t i = 0; i < 20; ++i) {
    Octets message = session.seal(i, to_host(i * 7));
    if (i == 11) message.back() ^= std::byte{0x80};
    frames.push_back(bench.datagram(message));
  }
  bench.receive(frames);
  EXPECT_EQ(bench.drops(), (Drops{{"data_authentication", 1}}));
  EXPECT_EQ(bench.transmitted(kLan).size(), 19u);
}

// The stamps the timers live on (control/noise/timers.h). Control looks at them by itself.
TEST_P(Inbound, StampsOfWhatWasReceived) {
  Peer& peer = bench.peer();
  peer.unanswered_data_sent_since = 77;
  bench.receive_message(session, 0, {});
  EXPECT_EQ(peer.last_received_any, bench.worker().now.ns);
  EXPECT_EQ(peer.unanswered_data_sent_since, 0);
  EXPECT_EQ(peer.unacknowledged_data_received_since, 0);
  const int64_t first = bench.worker().now.ns;
  bench.receive_message(session, 1, to_us());
  EXPECT_EQ(peer.unacknowledged_data_received_since, first);
  EXPECT_FALSE(peer.need_another_keepalive);
  bench.advance(3s);
  bench.receive_message(session, 2, to_us());
  EXPECT_EQ(peer.unacknowledged_data_received_since, first);
  EXPECT_TRUE(peer.need_another_keepalive);
  EXPECT_TRUE(bench.events().empty());
  bench.punted();
}

}  // namespace
}  // namespace sluice::test
