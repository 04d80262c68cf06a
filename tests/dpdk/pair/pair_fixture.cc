#include "tests/dpdk/pair/pair_fixture.h"

#include <algorithm>
#include <cstring>

#include "dataplane/wire/ip.h"

namespace sluice::test {

Packet frame_around(ConstBytes message, const Site& to, const Endpoint& source) {
  const Family family = source.address.is_ipv4() ? Family::kIpv4 : Family::kIpv6;
  const IpAddress destination = to.wan(family);
  const size_t l3 = family == Family::kIpv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
  const size_t udp_at = sizeof(EthernetHeader) + l3;
  Packet frame(udp_at + sizeof(UdpHeader) + message.size());
  auto& ethernet = *reinterpret_cast<EthernetHeader*>(frame.data());
  ethernet.destination = to.wan_mac.bytes;
  ethernet.source = {2, 0, 0, 0, 9, 9};
  ethernet.ether_type = family == Family::kIpv4 ? kEtherTypeIpv4 : kEtherTypeIpv6;
  const size_t ip_size = frame.size() - sizeof(EthernetHeader);
  if (family == Family::kIpv4) {
    auto& ip = *reinterpret_cast<Ipv4Header*>(frame.data() + sizeof(EthernetHeader));
    ip.version_ihl = 0x45;
    ip.total_length = static_cast<uint16_t>(ip_size);
    ip.ttl = 64;
    ip.protocol = kProtocolUdp;
    std::copy_n(source.address.bytes.begin(), 4, ip.source.begin());
    std::copy_n(destination.bytes.begin(), 4, ip.destination.begin());
    ip.checksum = ipv4_header_checksum(ip);
  } else {
    auto& ip = *reinterpret_cast<Ipv6Header*>(frame.data() + sizeof(EthernetHeader));
    ip.version_class_flow = 6u << 28;
    ip.payload_length = static_cast<uint16_t>(ip_size - l3);
    ip.next_header = kProtocolUdp;
    ip.hop_limit = 64;
    ip.source = source.address.bytes;
    ip.destination = destination.bytes;
  }
  auto& udp = *reinterpret_cast<UdpHeader*>(frame.data() + udp_at);
  udp.source_port = source.port;
  udp.destination_port = uint16_t{51820};
  udp.length = static_cast<uint16_t>(sizeof udp + message.size());
  std::copy(message.begin(), message.end(), frame.begin() + static_cast<ptrdiff_t>(udp_at + sizeof udp));
  const uint16_t sum = transport_checksum(source.address, destination, kProtocolUdp, std::span(frame).subspan(udp_at));
  udp.checksum = sum == 0 ? uint16_t{0xffff} : sum;
  return frame;
}

namespace {

enum class End { kSource, kDestination };

Endpoint endpoint_of(const Packet& frame, End end) {
  const ConstBytes packet = ConstBytes(frame).subspan(sizeof(EthernetHeader));
  const bool ipv4 = version_of(packet) == Family::kIpv4, source = end == End::kSource;
  Endpoint endpoint;
  if (ipv4) {
    const auto& ip = *reinterpret_cast<const Ipv4Header*>(packet.data());
    endpoint.address = IpAddress::ipv4((source ? ip.source : ip.destination).data());
  } else {
    const auto& ip = *reinterpret_cast<const Ipv6Header*>(packet.data());
    endpoint.address = IpAddress::ipv6((source ? ip.source : ip.destination).data());
  }
  const auto& udp =
      *reinterpret_cast<const UdpHeader*>(packet.data() + (ipv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header)));
  endpoint.port = (source ? udp.source_port : udp.destination_port).host();
  return endpoint;
}

}  // namespace

Endpoint source_of(const Packet& frame) { return endpoint_of(frame, End::kSource); }
Endpoint destination_of(const Packet& frame) { return endpoint_of(frame, End::kDestination); }

std::vector<uint32_t> sequences(const std::vector<Packet>& packets) {
  std::vector<uint32_t> numbers;
  for (const Packet& packet : packets) numbers.push_back(sequence_of(packet));
  return numbers;
}

bool strictly_ascending(const std::vector<uint32_t>& numbers) {
  return std::adjacent_find(numbers.begin(), numbers.end(), std::greater_equal<>()) == numbers.end();
}

std::vector<Packet> PairTest::Direction::of_type(MessageType type) const {
  std::vector<Packet> found;
  std::copy_if(frames.begin(), frames.end(), std::back_inserter(found),
               [type](const Packet& frame) { return type_of(frame) == type; });
  return found;
}

void PairTest::start(const GatewayPair::Options& options) {
  pair_.emplace(options);
  const auto watch = [](Direction& direction) {
    return [&direction](Packet frame) -> std::vector<Packet> {
      direction.frames.push_back(frame);
      if (direction.rule) return direction.rule(std::move(frame));
      return {std::move(frame)};
    };
  };
  pair_->a_to_b = watch(from_a);
  pair_->b_to_a = watch(from_b);
  a_buffers_ = a().packets_in_use();
  b_buffers_ = b().packets_in_use();
}

void PairTest::TearDown() {
  if (!pair_) return;
  a().tunnel().remove_all_peers();
  b().tunnel().remove_all_peers();
  for (int i = 0; i < 8; ++i) pair().step();
  pair().settle();
  pair().arrived_at_a();
  pair().arrived_at_b();
  EXPECT_EQ(a().packets_in_use(), a_buffers_) << "packet buffers of a that nobody has freed, or freed twice";
  EXPECT_EQ(b().packets_in_use(), b_buffers_) << "packet buffers of b that nobody has freed, or freed twice";
  EXPECT_EQ(a().dataplane().retired(), 0u);
  EXPECT_EQ(b().dataplane().retired(), 0u);
}

uint32_t PairTest::a_sends(unsigned packets, uint16_t queue) {
  for (unsigned i = 0; i < packets; ++i)
    EXPECT_TRUE(
        a().host_sends(udp_packet(a().site().host(Family::kIpv4), b().site().host(Family::kIpv4), ++sequence_), queue));
  return sequence_;
}

uint32_t PairTest::b_sends(unsigned packets, uint16_t queue) {
  for (unsigned i = 0; i < packets; ++i)
    EXPECT_TRUE(
        b().host_sends(udp_packet(b().site().host(Family::kIpv4), a().site().host(Family::kIpv4), ++sequence_), queue));
  return sequence_;
}

bool PairTest::a_reaches_b() {
  const uint32_t sent = a_sends();
  pair().settle();
  const auto got = sequences(pair().arrived_at_b());
  return std::find(got.begin(), got.end(), sent) != got.end();
}

bool PairTest::b_reaches_a() {
  const uint32_t sent = b_sends();
  pair().settle();
  const auto got = sequences(pair().arrived_at_a());
  return std::find(got.begin(), got.end(), sent) != got.end();
}

void PairTest::pass(Nanoseconds time, Nanoseconds tick) {
  pair().run(time, tick);
  pair().settle();
}

void PairTest::inject(TestGateway& into, const Packet& frame, uint16_t queue) {
  EXPECT_TRUE(into.wan().send(frame, queue));
  pair().settle();
}

std::optional<Nanoseconds> PairTest::time_until(const Direction& direction, MessageType type, Nanoseconds most,
                                                size_t n) {
  const size_t wanted = direction.count(type) + n;
  const MonoTime began = pair().clock.now();
  while (pair().clock.now() - began < most) {
    pass(10ms, 10ms);
    if (direction.count(type) >= wanted) return pair().clock.now() - began;
  }
  return std::nullopt;
}

void PairTest::forget_frames() {
  from_a.frames.clear();
  from_b.frames.clear();
  pair().seen.clear();
}

void PairTest::know_neighbour(TestGateway& at, const IpAddress& address) {
  at.network().put_neighbour({address, 1}, {Neighbour::State::kPermanent, Mac{{2, 0, 0, 0, 7, 7}}});
  at.network_changed();
  at.step();
}

}  // namespace sluice::test
