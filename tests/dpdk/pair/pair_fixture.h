// What the suites over a pair of gateways share: hosts that talk, a wire that remembers and interferes, forged frames,
// and at the end of every test the count of packet buffers.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "dataplane/wire/messages.h"
#include "tests/support/gateway_pair.h"

namespace sluice::test {

using namespace std::chrono_literals;
using Names = std::vector<std::string>;

// A WireGuard message in a frame to `to`'s WAN port, checksums right.
Packet frame_around(ConstBytes message, const Site& to, const Endpoint& source);
Endpoint source_of(const Packet& frame);
Endpoint destination_of(const Packet& frame);
std::vector<uint32_t> sequences(const std::vector<Packet>& packets);
bool strictly_ascending(const std::vector<uint32_t>& numbers);

template <class Message>
Message parsed(const Packet& frame) {
  Message message;
  const ConstBytes bytes = message_in(frame);
  EXPECT_GE(bytes.size(), sizeof message);
  std::copy_n(bytes.begin(), sizeof message, reinterpret_cast<std::byte*>(&message));
  return message;
}

// Rules for a wire, and what they return.
inline std::vector<Packet> just(Packet frame) { return {std::move(frame)}; }
inline std::vector<Packet> lose(const Packet&) { return {}; }
inline WireRule losing(MessageType type) {
  return [type](Packet frame) { return type_of(frame) == type ? std::vector<Packet>{} : just(std::move(frame)); };
}

class PairTest : public testing::Test {
 protected:
  // One direction of the wire: what was sent on it, and what happens to it.
  struct Direction {
    std::vector<Packet> frames;
    WireRule rule;
    std::vector<Packet> of_type(MessageType type) const;
    size_t count(MessageType type) const { return of_type(type).size(); }
  };

  void start(const GatewayPair::Options& options = {});
  void TearDown() override;  // removes the peers and counts packet buffers

  GatewayPair& pair() { return *pair_; }
  TestGateway& a() { return pair_->a; }
  TestGateway& b() { return pair_->b; }

  // The hosts. Sequence numbers go on over both.
  uint32_t a_sends(unsigned packets = 1, uint16_t queue = 0);
  uint32_t b_sends(unsigned packets = 1, uint16_t queue = 0);
  // A packet across, which needs a session; false: it did not arrive.
  bool a_reaches_b();
  bool b_reaches_a();

  // Time passes; afterwards everything under way has arrived.
  void pass(Nanoseconds time, Nanoseconds tick = 50ms);
  // Sends a frame into a gateway from outside and lets both react.
  void inject(TestGateway& into, const Packet& frame, uint16_t queue = 0);
  // How long it takes until the direction has carried `n` more messages of the type; never: not within `most`.
  std::optional<Nanoseconds> time_until(const Direction& direction, MessageType type, Nanoseconds most, size_t n = 1);
  void forget_frames();
  static void know_neighbour(TestGateway& at, const IpAddress& address);
  Endpoint wan_of(const TestGateway& gateway, Family family = Family::kIpv4) {
    return {gateway.site().wan(family), 51820, 0};
  }

  Direction from_a, from_b;
  uint32_t sequence_ = 0;

 private:
  std::optional<GatewayPair> pair_;
  unsigned a_buffers_ = 0, b_buffers_ = 0;
};

}  // namespace sluice::test
