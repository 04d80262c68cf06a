// The socket port against real sockets on loopback: whose a datagram is, and where one goes, however many there are of
// each in one system call.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/udp.h>
#include <poll.h>
#include <rte_mbuf.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <deque>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <vector>

#include "dataplane/port/udp_socket.h"
#include "dataplane/wire/ip.h"
#include "tests/support/eal_fixture.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

constexpr size_t kHeaders4 = sizeof(Ipv4Header) + sizeof(UdpHeader), kHeaders6 = sizeof(Ipv6Header) + sizeof(UdpHeader);

// A UDP socket of somebody else on loopback.
class Remote {
 public:
  explicit Remote(Family family) : fd_(socket(family == Family::kIpv4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0)) {
    sockaddr_storage address = loopback(family, 0);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), size_of(family)), 0) << std::strerror(errno);
    socklen_t size = sizeof address;
    EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(family == Family::kIpv4 ? reinterpret_cast<sockaddr_in&>(address).sin_port
                                          : reinterpret_cast<sockaddr_in6&>(address).sin6_port);
    family_ = family;
  }
  ~Remote() { close(fd_); }
  Remote(const Remote&) = delete;
  Remote& operator=(const Remote&) = delete;

  uint16_t port() const { return port_; }
  void send(uint16_t to, uint32_t number) const {
    const sockaddr_storage address = loopback(family_, to);
    EXPECT_EQ(sendto(fd_, &number, sizeof number, 0, reinterpret_cast<const sockaddr*>(&address), size_of(family_)),
              static_cast<ssize_t>(sizeof number));
  }
  // Numbers from `first` on, a datagram each, as one that the kernel cuts.
  void send_as_one(uint16_t to, uint32_t first, uint32_t count) const {
    const int segment = sizeof first;
    ASSERT_EQ(setsockopt(fd_, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment), 0);
    std::vector<uint32_t> numbers(count);
    std::iota(numbers.begin(), numbers.end(), first);
    const sockaddr_storage address = loopback(family_, to);
    EXPECT_EQ(sendto(fd_, numbers.data(), count * sizeof first, 0, reinterpret_cast<const sockaddr*>(&address),
                     size_of(family_)),
              static_cast<ssize_t>(count * sizeof first));
  }
  // A WireGuard message of that type, or as much as a rule looks at; `number` is in its counter's place.
  void send_message(uint16_t to, uint32_t type, uint32_t index, uint32_t number) const {
    const std::array<uint32_t, 8> words{type, index, number};
    const sockaddr_storage address = loopback(family_, to);
    EXPECT_EQ(sendto(fd_, words.data(), sizeof words, 0, reinterpret_cast<const sockaddr*>(&address), size_of(family_)),
              static_cast<ssize_t>(sizeof words));
  }
  // The next datagram's number; none within a second.
  std::optional<uint32_t> receive() const {
    pollfd readable{fd_, POLLIN, 0};
    std::array<std::byte, 2048> bytes;
    uint32_t number;
    if (poll(&readable, 1, 1000) != 1 || recv(fd_, bytes.data(), bytes.size(), 0) < 4) return std::nullopt;
    std::memcpy(&number, bytes.data(), sizeof number);
    return number;
  }
  bool has_more() const {
    pollfd readable{fd_, POLLIN, 0};
    return poll(&readable, 1, 0) == 1;
  }

 private:
  static sockaddr_storage loopback(Family family, uint16_t port) {
    sockaddr_storage address{};
    if (family == Family::kIpv4) {
      auto& ipv4 = reinterpret_cast<sockaddr_in&>(address);
      ipv4 = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
    } else {
      auto& ipv6 = reinterpret_cast<sockaddr_in6&>(address);
      ipv6.sin6_family = AF_INET6;
      ipv6.sin6_port = htons(port);
      ipv6.sin6_addr = in6addr_loopback;
    }
    return address;
  }
  static socklen_t size_of(Family family) {
    return family == Family::kIpv4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  }

  int fd_;
  uint16_t port_ = 0;
  Family family_ = Family::kIpv4;
};

class UdpSocketPortTest : public testing::TestWithParam<Family> {
 protected:
  UdpSocketPortTest() {
    auto made = make_udp_socket_port(PortId{1}, "socket", 1, Buffers{pool_.get(), nullptr});
    EXPECT_TRUE(made) << made.error().what;
    port_ = std::move(*made);
    for (int attempt = 0; attempt < 8 && listen_port_ == 0; ++attempt) {  // a free one may be taken meanwhile
      const uint16_t free = Remote(Family::kIpv4).port();
      if (port_->open(free)) listen_port_ = free;
    }
    EXPECT_NE(listen_port_, 0);
  }
  void SetUp() override {
    if (!port_->has(GetParam())) GTEST_SKIP() << "no IPv6 here";
  }

  bool ipv4() const { return GetParam() == Family::kIpv4; }
  size_t headers() const { return ipv4() ? kHeaders4 : kHeaders6; }

  struct Datagram {
    uint16_t source, destination;
    uint32_t number;
    IpAddress from, to;
  };
  // So many datagrams, or fewer after two seconds.
  std::vector<Datagram> receive(size_t count) {
    std::vector<Datagram> datagrams;
    const auto end = std::chrono::steady_clock::now() + 2s;
    while (datagrams.size() < count && std::chrono::steady_clock::now() < end) {
      std::array<rte_mbuf*, 64> packets;
      const uint16_t n = port_->receive(ipv4() ? 0 : 1, packets.data(), packets.size());
      for (rte_mbuf* m : std::span(packets).first(n)) {
        datagrams.push_back(read(m));
        rte_pktmbuf_free(m);
      }
    }
    return datagrams;
  }
  std::vector<Datagram> waiting_in(uint16_t queue) {
    std::vector<Datagram> datagrams;
    std::array<rte_mbuf*, 64> packets;
    while (const uint16_t n = port_->receive(queue, packets.data(), packets.size())) {
      for (rte_mbuf* m : std::span(packets).first(n)) {
        datagrams.push_back(read(m));
        rte_pktmbuf_free(m);
      }
    }
    return datagrams;
  }
  struct Message {
    uint32_t type, index;
  };
  std::vector<Message> messages_in(uint16_t queue) {
    std::vector<Message> messages;
    std::array<rte_mbuf*, 64> packets;
    while (const uint16_t n = port_->receive(queue, packets.data(), packets.size())) {
      for (rte_mbuf* m : std::span(packets).first(n)) {
        std::memcpy(&messages.emplace_back(), rte_pktmbuf_mtod(m, const std::byte*) + headers(), sizeof(Message));
        rte_pktmbuf_free(m);
      }
    }
    return messages;
  }
  Datagram read(rte_mbuf* m) const {
    const auto* at = rte_pktmbuf_mtod(m, const std::byte*);
    const auto& udp = *reinterpret_cast<const UdpHeader*>(at + headers() - sizeof(UdpHeader));
    Datagram datagram{udp.source_port.host(), udp.destination_port.host(), 0, {}, {}};
    EXPECT_EQ(rte_pktmbuf_data_len(m), headers() + sizeof datagram.number);
    std::memcpy(&datagram.number, at + headers(), sizeof datagram.number);
    if (ipv4()) {
      const auto& ip = *reinterpret_cast<const Ipv4Header*>(at);
      datagram.from = IpAddress::ipv4(&ip.source);
      datagram.to = IpAddress::ipv4(&ip.destination);
    } else {
      const auto& ip = *reinterpret_cast<const Ipv6Header*>(at);
      datagram.from = IpAddress::ipv6(&ip.source);
      datagram.to = IpAddress::ipv6(&ip.destination);
    }
    return datagram;
  }

  rte_mbuf* datagram_to(uint16_t port, uint32_t number, size_t size) {
    rte_mbuf* m = rte_pktmbuf_alloc(pool_.get());
    auto* at = reinterpret_cast<std::byte*>(rte_pktmbuf_append(m, static_cast<uint16_t>(headers() + size)));
    std::memset(at, 0, headers() + size);
    if (ipv4()) {
      auto& ip = *reinterpret_cast<Ipv4Header*>(at);
      ip.version_ihl = 0x45;
      ip.destination = {127, 0, 0, 1};
    } else {
      auto& ip = *reinterpret_cast<Ipv6Header*>(at);
      ip.version_class_flow = 6u << 28;
      ip.destination.back() = 1;
    }
    reinterpret_cast<UdpHeader*>(at + headers() - sizeof(UdpHeader))->destination_port = port;
    std::memcpy(at + headers(), &number, sizeof number);
    return m;
  }

  PacketPool pool_ = test::small_pool();
  std::unique_ptr<UdpSocketPort> port_;
  uint16_t listen_port_ = 0;
};

std::string name_of(const testing::TestParamInfo<Family>& info) {
  return info.param == Family::kIpv4 ? "IPv4" : "IPv6";
}
INSTANTIATE_TEST_SUITE_P(Families, UdpSocketPortTest, testing::Values(Family::kIpv4, Family::kIpv6), name_of);

TEST_P(UdpSocketPortTest, EveryDatagramHasItsOwnSender) {
  constexpr uint32_t kDatagrams = 96;  // more than a call gives, so that one is taken out in parts
  const std::array<Remote, 3> remotes{Remote(GetParam()), Remote(GetParam()), Remote(GetParam())};
  for (uint32_t n = 0; n < kDatagrams; ++n) remotes[n % 3].send(listen_port_, n);
  const IpAddress loopback = *parse_address(ipv4() ? "127.0.0.1" : "::1");
  const std::vector<Datagram> received = receive(kDatagrams);
  ASSERT_EQ(received.size(), kDatagrams);
  for (uint32_t n = 0; n < kDatagrams; ++n) {
    EXPECT_EQ(received[n].number, n);
    EXPECT_EQ(received[n].source, remotes[n % 3].port()) << n;
    EXPECT_EQ(received[n].destination, listen_port_);
    EXPECT_EQ(received[n].from, loopback);
    EXPECT_EQ(received[n].to, loopback);
  }
}

// What left as one and does not fit whole into the rest of a burst waits, and the worker can know it: the descriptor
// says nothing of it any more.
TEST_P(UdpSocketPortTest, ABurstEndsWhereASuperFrameDoes) {
  const uint16_t queue = ipv4() ? 0 : 1;
  const Remote remote(GetParam());
  remote.send_as_one(listen_port_, 0, 40);
  remote.send_as_one(listen_port_, 40, 40);
  for (uint32_t first : {0u, 40u}) {
    const std::vector<Datagram> burst = receive(1);
    ASSERT_EQ(burst.size(), 40u);
    for (uint32_t n = 0; n < 40; ++n) EXPECT_EQ(burst[n].number, first + n);
    EXPECT_EQ(port_->has_more(queue), first == 0);
  }
}

// Runs to one place leave as one, the last of them may be shorter; nothing of it goes anywhere else.
TEST_P(UdpSocketPortTest, EveryDatagramGoesToItsOwnPlace) {
  const std::array<Remote, 2> remotes{Remote(GetParam()), Remote(GetParam())};
  constexpr std::array<size_t, 12> kPlaces{0, 0, 0, 1, 0, 1, 1, 1, 1, 0, 0, 1};
  constexpr std::array<size_t, 12> kSizes{100, 100, 60, 100, 100, 100, 200, 200, 40, 40, 100, 100};
  std::array<rte_mbuf*, 12> packets;
  for (uint32_t n = 0; n < packets.size(); ++n) packets[n] = datagram_to(remotes[kPlaces[n]].port(), n, kSizes[n]);
  ASSERT_EQ(port_->transmit(0, packets.data(), packets.size()), packets.size());
  for (uint32_t n = 0; n < packets.size(); ++n) EXPECT_EQ(remotes[kPlaces[n]].receive(), n);
  for (const Remote& remote : remotes) EXPECT_FALSE(remote.has_more());
  EXPECT_EQ(port_->counters().tx_errors, 0u);
}

// Everything from one place comes by one queue, in its order; all queues have a share, and nobody else the port.
TEST_P(UdpSocketPortTest, WorkersShareThePortAmongThem) {
  constexpr uint16_t kWorkers = 3;
  constexpr uint32_t kRemotes = 30, kEach = 8;
  auto shared = make_udp_socket_port(PortId{2}, "shared", kWorkers, Buffers{pool_.get(), nullptr});
  ASSERT_TRUE(shared);
  const auto refused = (*shared)->open(listen_port_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, EADDRINUSE);
  port_->close();
  ASSERT_TRUE((*shared)->open(listen_port_));
  EXPECT_FALSE(probe_udp_port(listen_port_));

  std::deque<Remote> remotes;
  for (uint32_t i = 0; i < kRemotes; ++i) remotes.emplace_back(GetParam());
  for (uint32_t n = 0; n < kRemotes * kEach; ++n) remotes[n % kRemotes].send(listen_port_, n);
  port_ = std::move(*shared);
  std::map<uint16_t, uint16_t> queue_of;  // by the sender's port
  std::map<uint16_t, uint32_t> last_of;
  std::set<uint16_t> queues;
  uint32_t received = 0;
  for (uint16_t w = 0; w < kWorkers; ++w) {
    const auto queue = static_cast<uint16_t>(w + (ipv4() ? 0 : kWorkers));
    for (const Datagram& datagram : waiting_in(queue)) {
      EXPECT_EQ(queue_of.try_emplace(datagram.source, queue).first->second, queue);
      const auto [last, first] = last_of.try_emplace(datagram.source, datagram.number);
      EXPECT_TRUE(first || last->second < datagram.number);
      last->second = datagram.number;
      queues.insert(queue);
      ++received;
    }
  }
  EXPECT_EQ(received, kRemotes * kEach);
  EXPECT_EQ(queues.size(), kWorkers);
}

// One sender's data messages come by the queue that each one's receiver index names; what else it sends, by one.
TEST_P(UdpSocketPortTest, SteersDataMessagesByTheirIndex) {
  constexpr uint16_t kWorkers = 3;
  constexpr uint32_t kMessages = 64;
  auto made = make_udp_socket_port(PortId{2}, "steered", kWorkers, Buffers{pool_.get(), nullptr});
  ASSERT_TRUE(made);
  port_->close();
  port_ = std::move(*made);
  EXPECT_EQ(port_->steering(), Steering{});
  port_->steer({{0, 1, 2, 0}}, std::vector<uint16_t>{listen_port_});
  EXPECT_EQ(port_->steering(), Steering{}) << "it is closed";
  for (const char* when : {"opened", "opened again"}) {
    SCOPED_TRACE(when);
    ASSERT_TRUE(port_->open(listen_port_));
    ASSERT_EQ(port_->steering(), (Steering{Steering::State::kOn, {}}));
    const Remote remote(GetParam());
    for (uint32_t n = 0; n < kMessages; ++n) {
      remote.send_message(listen_port_, 4, 0xabcdef00 + n, 0);
      remote.send_message(listen_port_, 1 + n % 3, n, 0);
    }
    size_t handshakes_of[kWorkers] = {};
    for (uint16_t w = 0; w < kWorkers; ++w) {
      std::vector<uint32_t> indices;
      for (const Message& message : messages_in(static_cast<uint16_t>(w + (ipv4() ? 0 : kWorkers)))) {
        if (message.type == 4) indices.push_back(message.index - 0xabcdef00);
        handshakes_of[w] += message.type != 4;
      }
      std::vector<uint32_t> expected;
      for (uint32_t n = 0; n < kMessages; ++n)
        if (n % 4 % 3 == w) expected.push_back(n);
      EXPECT_EQ(indices, expected) << "queue " << w;
    }
    EXPECT_EQ(std::ranges::count(handshakes_of, kMessages), 1) << "as one flow";
    port_->close();
  }
}

}  // namespace
}  // namespace sluice
