// Two gateways and the wire between their WAN ports, which can lose, double, reorder, corrupt and rewrite what passes.
// One thread, a manual clock and seeded randomness: every run repeats exactly.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/test_gateway.h"

namespace sluice::test {

// What happens to a frame on the wire, decided by the test: the frames that arrive instead of it (none: lost).
using WireRule = std::function<std::vector<Packet>(Packet frame)>;

class GatewayPair {
 public:
  struct Options {
    TestGateway::Options a, b;
    uint64_t seed = 1;
    Family outer = Family::kIpv4;
    bool preshared_key = false;
    bool b_knows_a = false;  // b has a's endpoint from the start, too
    uint16_t keepalive = 0;
  };
  explicit GatewayPair(const Options& options);
  GatewayPair() : GatewayPair(Options{}) {}

  ManualClock clock;
  TestGateway a, b;
  PeerControl* b_at_a = nullptr;  // the peer b as a has it configured
  PeerControl* a_at_b = nullptr;

  WireRule a_to_b, b_to_a;   // empty: the frame passes
  std::vector<Packet> seen;  // every frame that was put on the wire, in order (before the rules)

  void step();    // both gateways and the wire, once
  void settle();  // steps until nothing is on the wire and nobody has work, at most 200 times
  void run(Nanoseconds time, Nanoseconds tick = std::chrono::milliseconds(10));  // steps while the clock goes on
  void shake_hands();  // one packet from a's host, until it arrived at b's; fails the test if it does not

  // What the hosts have received since the last call.
  std::vector<Packet> arrived_at_a() { return drain(a); }
  std::vector<Packet> arrived_at_b() { return drain(b); }

  // Of the frames seen: how many carried a WireGuard message of this type.
  size_t count(MessageType type) const;

 private:
  static std::vector<Packet> drain(TestGateway& gateway);
  size_t carry(RingWire& from, RingWire& to, const WireRule& rule, uint16_t queues);
};

// The WireGuard message in a frame between the gateways.
ConstBytes message_in(const Packet& frame);
MessageType type_of(const Packet& frame);

// A UDP packet from one host to the other, `sequence` at the start of its payload.
Packet udp_packet(const IpAddress& from, const IpAddress& to, uint32_t sequence, size_t payload = 64);
uint32_t sequence_of(const Packet& ip_packet);

}  // namespace sluice::test
