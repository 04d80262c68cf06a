#include "tests/support/gateway_pair.h"

#include <gtest/gtest.h>

#include <cstring>

#include "dataplane/crypto/primitives.h"
#include "dataplane/wire/ip.h"

namespace sluice::test {
namespace {

constexpr uint16_t kListenPort = 51820;

PeerControl* introduce(TestGateway& at, const PublicKey& key, const Site& other, const GatewayPair::Options& options,
                       bool with_endpoint) {
  Tunnel& tunnel = at.tunnel();
  PeerControl* peer = tunnel.add_peer(key);
  for (Family family : {Family::kIpv4, Family::kIpv6}) tunnel.add_allowed_ip(*peer, other.lan_prefix(family));
  if (options.preshared_key) {
    Secret<32> psk;
    SeededRng(77).fill(psk.bytes());
    tunnel.set_preshared_key(*peer, std::move(psk));
  }
  tunnel.set_persistent_keepalive(*peer, options.keepalive);
  if (with_endpoint) tunnel.set_endpoint(*peer, Endpoint{other.wan(options.outer), kListenPort, 0});
  tunnel.apply_peer(*peer);
  return peer;
}

}  // namespace

GatewayPair::GatewayPair(const Options& options)
    : a(Site::of(1, "a"), Site::of(2, "b"), clock, options.seed, options.a),
      b(Site::of(2, "b"), Site::of(1, "a"), clock, options.seed + 1, options.b) {
  EXPECT_TRUE(crypto_init());
  SeededRng rng(options.seed + 2);
  PrivateKey key_a = generate_private_key(rng), key_b = generate_private_key(rng);
  const PublicKey public_a = public_key_of(key_a), public_b = public_key_of(key_b);
  a.tunnel().set_private_key(std::move(key_a));
  b.tunnel().set_private_key(std::move(key_b));
  a_at_b = introduce(b, public_a, a.site(), options, options.b_knows_a);
  b_at_a = introduce(a, public_b, b.site(), options, true);
  a.step();
  b.step();
}

size_t GatewayPair::carry(RingWire& from, RingWire& to, const WireRule& rule, uint16_t queues) {
  size_t carried = 0;
  for (uint16_t queue = 0; queue < queues; ++queue) {
    while (auto frame = from.receive(queue)) {
      ++carried;
      seen.push_back(*frame);
      if (!rule) {
        to.send(*frame);
        continue;
      }
      for (const Packet& instead : rule(std::move(*frame))) to.send(instead);
    }
  }
  return carried;
}

void GatewayPair::step() {
  a.step();
  carry(a.wan(), b.wan(), a_to_b, a.dataplane().worker_count());
  b.step();
  carry(b.wan(), a.wan(), b_to_a, b.dataplane().worker_count());
}

void GatewayPair::settle() {
  for (int quiet = 0, i = 0; i < 200 && quiet < 3; ++i) {
    const size_t before = seen.size();
    step();
    quiet = seen.size() == before ? quiet + 1 : 0;
  }
}

void GatewayPair::run(Nanoseconds time, Nanoseconds tick) {
  for (const MonoTime end = clock.now() + time; clock.now() < end;) {
    clock.advance(tick);
    step();
  }
}

void GatewayPair::shake_hands() {
  a.host_sends(udp_packet(a.site().host(Family::kIpv4), b.site().host(Family::kIpv4), 0));
  settle();
  ASSERT_EQ(arrived_at_b().size(), 1u) << "the first packet did not arrive";
}

std::vector<Packet> GatewayPair::drain(TestGateway& gateway) {
  std::vector<Packet> packets;
  while (auto packet = gateway.host_receives()) packets.push_back(std::move(*packet));
  return packets;
}

size_t GatewayPair::count(MessageType type) const {
  size_t n = 0;
  for (const Packet& frame : seen) n += type_of(frame) == type;
  return n;
}

ConstBytes message_in(const Packet& frame) {
  const ConstBytes ip = ConstBytes(frame).subspan(sizeof(EthernetHeader));
  const size_t l3 = version_of(ip) == Family::kIpv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
  const auto& udp = *reinterpret_cast<const UdpHeader*>(ip.data() + l3);
  return ip.subspan(l3 + sizeof udp, udp.length.host() - sizeof udp);
}

MessageType type_of(const Packet& frame) { return classify(message_in(frame)); }

Packet udp_packet(const IpAddress& from, const IpAddress& to, uint32_t sequence, size_t payload) {
  const size_t l3 = from.is_ipv4() ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
  Packet packet(l3 + sizeof(UdpHeader) + std::max(payload, sizeof sequence));
  if (from.is_ipv4()) {
    auto& ip = *reinterpret_cast<Ipv4Header*>(packet.data());
    ip.version_ihl = 0x45;
    ip.total_length = static_cast<uint16_t>(packet.size());
    ip.ttl = 64;
    ip.protocol = kProtocolUdp;
    std::memcpy(ip.source.data(), from.bytes.data(), 4);
    std::memcpy(ip.destination.data(), to.bytes.data(), 4);
    ip.checksum = ipv4_header_checksum(ip);
  } else {
    auto& ip = *reinterpret_cast<Ipv6Header*>(packet.data());
    ip.version_class_flow = 6u << 28;
    ip.payload_length = static_cast<uint16_t>(packet.size() - l3);
    ip.next_header = kProtocolUdp;
    ip.hop_limit = 64;
    ip.source = from.bytes;
    ip.destination = to.bytes;
  }
  auto& udp = *reinterpret_cast<UdpHeader*>(packet.data() + l3);
  udp.source_port = uint16_t{4000};
  udp.destination_port = uint16_t{5000};
  udp.length = static_cast<uint16_t>(packet.size() - l3);
  std::memcpy(packet.data() + l3 + sizeof udp, &sequence, sizeof sequence);
  const uint16_t checksum = transport_checksum(from, to, kProtocolUdp, std::span(packet).subspan(l3));
  udp.checksum = checksum == 0 ? uint16_t{0xffff} : checksum;
  return packet;
}

uint32_t sequence_of(const Packet& ip_packet) {
  const size_t l3 = version_of(ip_packet) == Family::kIpv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
  uint32_t sequence;
  std::memcpy(&sequence, ip_packet.data() + l3 + sizeof(UdpHeader), sizeof sequence);
  return sequence;
}

}  // namespace sluice::test
