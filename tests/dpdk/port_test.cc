#include <gtest/gtest.h>
#include <poll.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "dataplane/port/device.h"
#include "dataplane/port/eal.h"
#include "dataplane/port/ethdev.h"
#include "tests/support/eal_fixture.h"
#include "tests/support/net_namespace.h"
#include "tests/support/raw_interface.h"

namespace sluice {
namespace {

using test::NetNamespace;
using test::RawInterface;
using test::RingWire;

// A frame between made-up hosts that no kernel answers; `flow` changes what fanout and RSS hash.
std::vector<std::byte> udp_frame(uint16_t flow, size_t size = 60) {
  std::vector<std::byte> f(size);
  const uint8_t head[] = {0x02, 0, 0, 0, 0, 2, 0x02, 0, 0,  0,  0, 1, 0x08, 0x00,  // Ethernet
                          0x45, 0, 0, 0, 0, 0, 0,    0, 64, 17, 0, 0, 192,  0,    2, 1, 198, 51, 100, 1};
  std::memcpy(f.data(), head, sizeof head);
  const auto put16 = [&](size_t at, size_t v) {
    f[at] = static_cast<std::byte>(v >> 8);
    f[at + 1] = static_cast<std::byte>(v);
  };
  put16(16, size - 14);
  put16(34, 1024u + flow);
  put16(36, 51820);
  put16(38, size - 34);
  put16(42, flow);  // first bytes of the payload
  return f;
}

rte_mbuf* packet_with(rte_mempool* pool, const std::vector<std::byte>& frame) {
  rte_mbuf* m = rte_pktmbuf_alloc(pool);
  std::memcpy(rte_pktmbuf_append(m, static_cast<uint16_t>(frame.size())), frame.data(), frame.size());
  return m;
}

std::vector<std::byte> bytes_and_free(rte_mbuf* m) {
  const auto* b = rte_pktmbuf_mtod(m, const std::byte*);
  std::vector<std::byte> bytes(b, b + rte_pktmbuf_data_len(m));
  rte_pktmbuf_free(m);
  return bytes;
}

// Polls so many queues from the first on until a frame comes, for two seconds at most.
rte_mbuf* receive_one_of(Port& port, uint16_t first, uint16_t queues) {
  for (int i = 0; i < 2000; ++i) {
    for (uint16_t queue = first; queue < first + queues; ++queue) {
      rte_mbuf* m;
      if (port.receive(queue, &m, 1) == 1) return m;
    }
    usleep(1000);
  }
  return nullptr;
}
rte_mbuf* receive_one(Port& port, uint16_t queue = 0) { return receive_one_of(port, queue, 1); }

bool readable(int fd, int timeout_ms) {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, timeout_ms) == 1;
}

void expect_one_line(const std::string& what, const std::string& must_contain) {
  EXPECT_NE(what.find(must_contain), what.npos) << what;
  EXPECT_EQ(what.find('\n'), what.npos) << what;
  EXPECT_FALSE(what.empty() || what.ends_with('.')) << what;
}

std::string make_error(const std::string& device, uint16_t mtu = 1500) {
  const PacketPool pool = test::small_pool(1023, 64, mtu);
  const auto port = make_ethdev_port(PortId{0}, {.name = "wan", .device = device, .mtu = mtu}, pool.get());
  return port ? "made it" : port.error().what;
}

TEST(Device, StringsNameDriverAndArguments) {
  struct Case {
    const char *text, *library, *arguments;
  };
  for (const Case& c : {
           Case{"af_packet:eth1", "net_af_packet", "iface=eth1,qpairs=2,framesz=2048,blocksz=65536,framecnt=2048"},
           Case{"af_xdp:eth1", "net_af_xdp", "iface=eth1"},
           Case{"tap:t0", "net_tap", "iface=t0"},
           Case{"memif:/run/x.sock,role=client", "net_memif", "socket=/run/x.sock,socket-abstract=no,role=client"},
           Case{"memif:/run/x.sock", "net_memif", "socket=/run/x.sock,socket-abstract=no,role=server"},
           Case{"vhost:/run/v.sock", "net_vhost", "iface=/run/v.sock,queues=2"},
           Case{"virtio_user:/run/v.sock", "net_virtio",
                "path=/run/v.sock,queues=2,queue_size=1024,packed_vq=1,mrg_rxbuf=0"},
           Case{"pcap:in.pcap,out.pcap", "net_pcap", "rx_pcap=in.pcap,tx_pcap=out.pcap"},
           Case{"pcap:,out.pcap", "net_pcap", "tx_pcap=out.pcap"},
           Case{"null", "net_null", "no-rx=1"},
           Case{"ring:r", "net_ring", ""},
           Case{"net_bonding0,mode=1", "net_bonding", "mode=1"},
       }) {
    const Result<Device> device = parse_device(c.text);
    ASSERT_TRUE(device) << c.text;
    EXPECT_EQ(device->library, c.library) << c.text;
    EXPECT_EQ(port_arguments(*device, 2, 1500, ""), c.arguments) << c.text;
  }
  EXPECT_EQ(port_arguments(*parse_device("af_packet:e"), 1, 9000, ""),
            "iface=e,qpairs=1,framesz=9216,blocksz=36864,framecnt=512");
}

TEST(Device, DevargsHaveTheLastWord) {
  EXPECT_EQ(port_arguments(*parse_device("tap:t"), 1, 1500, "mac=fixed"), "iface=t,mac=fixed");
  EXPECT_EQ(port_arguments(*parse_device("null"), 1, 1500, "size=64"), "no-rx=1,size=64");
  EXPECT_EQ(port_arguments(*parse_device("ring:r"), 1, 1500, "a=1"), "a=1");
  // Twice would be not at all.
  EXPECT_EQ(port_arguments(*parse_device("virtio_user:/v"), 1, 1500, "queue_size=256,mac=x"),
            "path=/v,queues=1,packed_vq=1,mrg_rxbuf=0,queue_size=256,mac=x");
  EXPECT_EQ(port_arguments(*parse_device("virtio_user:/v"), 1, 1500, "mac=x,packed_vq=0"),
            "path=/v,queues=1,queue_size=1024,mrg_rxbuf=0,mac=x,packed_vq=0");
  EXPECT_EQ(port_arguments(*parse_device("virtio_user:/v,queue_size=512"), 1, 1500, "not_packed_vq=0"),
            "path=/v,queue_size=512,queues=1,packed_vq=1,mrg_rxbuf=0,not_packed_vq=0");
}

TEST(Device, NeedsOfTheEal) {
  EXPECT_EQ(device_needs("pci:0000:3b:00.0")->pci, "0000:3b:00.0");
  EXPECT_EQ(device_needs("pci:0000:3b:00.0", "a=1,b=2")->pci, "0000:3b:00.0,a=1,b=2");
  EXPECT_EQ(device_needs("virtio_user:/x", "a=1")->driver, "net_virtio");
  EXPECT_EQ(device_needs("virtio_user:/x", "a=1")->pci, "");
}

TEST(Device, WrongStringsAreExplained) {
  expect_one_line(device_needs("eth0").error().what, "\"eth0\" is no device; there are pci:ADDRESS");
  expect_one_line(device_needs("af_packet:").error().what, "is no device");
  expect_one_line(device_needs("pci:3b:00.0").error().what, "\"3b:00.0\" is no PCI address");
  expect_one_line(device_needs("").error().what, "\"\" is no device");
}

TEST(Eal, SaysWhatIsWrongWithTheCores) {
  expect_one_line(start_eal({.worker_cores = {999}}).error().what, "workers: no core 999 here");
  const auto core = static_cast<unsigned>(sched_getcpu());
  expect_one_line(start_eal({.worker_cores = {core, core}}).error().what, "is given twice");
}

TEST(Eal, SaysWhichDriverIsNotInstalled) {
  expect_one_line(start_eal({.drivers = {"net_nothing"}}).error().what, "driver net_nothing is not installed");
}

TEST(Eal, SaysThatHugepagesAreMissing) {
  const auto started = start_eal({.hugepages = EalOptions::Hugepages::kRequired, .memory_mib = 1u << 30});
  expect_one_line(started.error().what, "hugepages: 1073741824 MiB needed");
}

TEST(Eal, StartsOncePerProcess) {
  expect_one_line(start_eal({.hugepages = EalOptions::Hugepages::kNever}).error().what, "started before");
}

TEST(Ethdev, ErrorsAreOneLineAndLeaveNothing) {
  const uint64_t before = std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  expect_one_line(make_error("af_packet:nosuch0"), "port wan: no interface nosuch0");
  expect_one_line(make_error("pci:ffff:ff:1f.7"), "port wan: no driver took pci:ffff:ff:1f.7");
  expect_one_line(make_error("net_nosuch0"), "port wan: net_nosuch0 cannot be created");
  expect_one_line(make_error("pcap:/nonexistent/in.pcap,/nonexistent/out.pcap"), "port wan: pcap:");
  expect_one_line(make_error("virtio_user:/nonexistent/socket"), "port wan: virtio_user:/nonexistent/socket");
  expect_one_line(make_error("what"), "port wan: \"what\" is no device");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}), static_cast<ptrdiff_t>(before));
}

TEST(Ethdev, NullSwallowsEverythingAndComesBackUnderTheSameName) {
  const PacketPool pool = test::small_pool();
  for (int round = 0; round < 3; ++round) {
    const unsigned buffers = rte_mempool_avail_count(pool.get());
    auto port = make_ethdev_port(PortId{3}, {.name = "lan", .device = "null", .workers = 2}, pool.get());
    ASSERT_TRUE(port) << port.error().what;
    EXPECT_EQ((*port)->name(), "lan");
    EXPECT_EQ((*port)->id(), PortId{3});
    EXPECT_EQ((*port)->receive_queues(), 2);
    EXPECT_EQ((*port)->transmit_queues(), 2);
    EXPECT_EQ((*port)->mtu(), 1500);
    EXPECT_EQ((*port)->device(), "null");
    EXPECT_NE((*port)->mac(), Mac{});
    rte_mbuf* packets[2] = {packet_with(pool.get(), udp_frame(1)), packet_with(pool.get(), udp_frame(2))};
    EXPECT_EQ((*port)->transmit(1, packets, 2), 2);
    EXPECT_EQ((*port)->receive(0, packets, 2), 0);
    EXPECT_EQ((*port)->counters().tx_packets, 2u);
    port->reset();
    EXPECT_EQ(rte_mempool_avail_count(pool.get()), buffers);
  }
}

TEST(Ethdev, TwoPortsCannotBeTheSameDevice) {
  const PacketPool pool = test::small_pool();
  const auto first = make_ethdev_port(PortId{0}, {.name = "a", .device = "net_null7"}, pool.get());
  ASSERT_TRUE(first) << first.error().what;
  const auto second = make_ethdev_port(PortId{1}, {.name = "b", .device = "net_null7"}, pool.get());
  ASSERT_FALSE(second);
  expect_one_line(second.error().what, "port b: net_null7 belongs to another port");
}

TEST(Ethdev, RingCarriesFramesBothWaysPerQueue) {
  const PacketPool pool = test::small_pool();
  RingWire wire("wire", 2, pool.get());
  const Mac mac{{2, 0, 0, 0, 0, 7}};
  const auto port = wire.make_port(PortId{0}, {.name = "r", .workers = 2, .mac = mac});
  ASSERT_NE(port, nullptr);
  EXPECT_EQ(port->mac(), mac);
  EXPECT_EQ(port->receive_queues(), 2);
  EXPECT_TRUE(port->link_up());
  EXPECT_EQ(port->wakeup(0).kind, Wakeup::Kind::kNone);

  ASSERT_TRUE(wire.send(udp_frame(5), 1));
  rte_mbuf* m;
  EXPECT_EQ(port->receive(0, &m, 1), 0);
  ASSERT_EQ(port->receive(1, &m, 1), 1);
  EXPECT_EQ(bytes_and_free(m), udp_frame(5));

  m = packet_with(pool.get(), udp_frame(6));
  ASSERT_EQ(port->transmit(1, &m, 1), 1);
  EXPECT_EQ(wire.receive(0), std::nullopt);
  EXPECT_EQ(wire.receive(1), udp_frame(6));
}

// None of the devices that a test can have takes such rules.
TEST(Ethdev, ADeviceThatDoesNotSteerSaysSoAndGoesOn) {
  const PacketPool pool = test::small_pool();
  RingWire wire("steered", 2, pool.get());
  const auto port = wire.make_port(PortId{0}, {.name = "r", .workers = 2});
  ASSERT_NE(port, nullptr);
  EXPECT_EQ(port->steering(), Steering{});
  for (const std::vector<uint16_t>& ports : {std::vector<uint16_t>{51820}, {51820, 51821}}) {
    port->steer({{0, 1}}, ports);
    EXPECT_EQ(port->steering().state, Steering::State::kRefused);
    expect_one_line(port->steering().why, "net_ring: ");
  }
  ASSERT_TRUE(wire.send(udp_frame(5), 1));
  rte_mbuf* m;
  ASSERT_EQ(port->receive(1, &m, 1), 1);
  EXPECT_EQ(bytes_and_free(m), udp_frame(5));
  port->steer({{0, 1}}, {});
  EXPECT_EQ(port->steering(), Steering{});
}

TEST(Ethdev, IsNotAskedToSteerIfTheConfigurationSaysNo) {
  const PacketPool pool = test::small_pool();
  RingWire wire("unsteered", 2, pool.get());
  const auto port = wire.make_port(PortId{0}, {.name = "r", .workers = 2, .steering = false});
  ASSERT_NE(port, nullptr);
  port->steer({{0, 1}}, std::vector<uint16_t>{51820});
  EXPECT_EQ(port->steering(), (Steering{Steering::State::kOff, {}}));
}

TEST(Ethdev, MoreWorkersThanQueuesShareTheTransmitQueue) {
  const PacketPool pool = test::small_pool();
  RingWire wire("shared", 1, pool.get());
  const auto port = wire.make_port(PortId{0}, {.name = "r", .workers = 3});
  ASSERT_NE(port, nullptr);
  EXPECT_EQ(port->receive_queues(), 1);
  EXPECT_EQ(port->transmit_queues(), 3);
  for (uint16_t worker = 0; worker < 3; ++worker) {
    rte_mbuf* m = packet_with(pool.get(), udp_frame(worker));
    ASSERT_EQ(port->transmit(worker, &m, 1), 1);
    EXPECT_EQ(wire.receive(0), udp_frame(worker));
  }
}

TEST(Ethdev, PcapWritesWhatIsTransmitted) {
  const std::string file = testing::TempDir() + "sluice-port-" + std::to_string(getpid()) + ".pcap";
  const PacketPool pool = test::small_pool();
  {
    const auto port = make_ethdev_port(PortId{0}, {.name = "p", .device = "pcap:," + file}, pool.get());
    ASSERT_TRUE(port) << port.error().what;
    rte_mbuf* m = packet_with(pool.get(), udp_frame(9));
    ASSERT_EQ((*port)->transmit(0, &m, 1), 1);
  }
  {
    const auto port = make_ethdev_port(PortId{0}, {.name = "p", .device = "pcap:" + file + ","}, pool.get());
    ASSERT_TRUE(port) << port.error().what;
    rte_mbuf* m = receive_one(**port);
    ASSERT_NE(m, nullptr);
    EXPECT_EQ(bytes_and_free(m), udp_frame(9));
  }
  unlink(file.c_str());
}

// Shared memory: both ends in this process, at a socket of the test's own.
class EthdevSharedMemory : public testing::Test {
 protected:
  void TearDown() override { unlink(socket_.c_str()); }
  std::unique_ptr<Port> make(const std::string& name, const std::string& device) {
    auto port = make_ethdev_port(PortId{0}, {.name = name, .device = device, .mtu = mtu_}, pool_.get());
    EXPECT_TRUE(port) << port.error().what;
    return port ? std::move(*port) : nullptr;
  }
  void use_mtu(uint16_t mtu) {
    mtu_ = mtu;
    pool_ = test::small_pool(4095, 64, mtu);
  }
  // The link comes up in its own time; frames sent before are refused or lost.
  void expect_carried(Port& from, Port& to, size_t size = 60) {
    for (int i = 0; i < 2000; ++i) {
      rte_mbuf* m = packet_with(pool_.get(), udp_frame(3, size));
      if (from.transmit(0, &m, 1) == 0) rte_pktmbuf_free(m);
      if (to.receive(0, &m, 1) == 1) {
        EXPECT_EQ(m->nb_segs, 1);
        EXPECT_EQ(bytes_and_free(m), udp_frame(3, size));
        return;
      }
      usleep(1000);
    }
    ADD_FAILURE() << from.name() << " to " << to.name() << ": nothing arrived";
  }
  uint16_t mtu_ = 1500;
  PacketPool pool_ = test::small_pool();
  std::string socket_ = testing::TempDir() + "sluice-port-" + std::to_string(getpid()) + ".sock";
};

TEST_F(EthdevSharedMemory, MemifCarriesFramesBothWays) {
  const auto server = make("ms", "memif:" + socket_ + ",role=server");
  ASSERT_NE(server, nullptr);
  const auto client = make("mc", "memif:" + socket_ + ",role=client");
  ASSERT_NE(client, nullptr);
  expect_carried(*client, *server);
  expect_carried(*server, *client);
  EXPECT_EQ(server->wakeup(0).kind, Wakeup::Kind::kNone);
}

TEST_F(EthdevSharedMemory, VhostReplacesAStaleSocketAndCarriesFramesToVirtioUser) {
  {
    const int stale = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    socket_.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(bind(stale, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    close(stale);
  }
  const auto host = make("vh", "vhost:" + socket_);
  ASSERT_NE(host, nullptr);
  const auto guest = make("vu", "virtio_user:" + socket_);
  ASSERT_NE(guest, nullptr);
  expect_carried(*guest, *host);
  expect_carried(*host, *guest);
}

TEST_F(EthdevSharedMemory, VirtioUserHasBuffersForItsLargestFrame) {
  use_mtu(9000);
  const auto host = make("vh", "vhost:" + socket_);
  ASSERT_NE(host, nullptr);
  const auto guest = make("vu", "virtio_user:" + socket_);
  ASSERT_NE(guest, nullptr);
  expect_carried(*guest, *host, 9014);
  expect_carried(*host, *guest, 9014);
}

// The rest needs a namespace with interfaces, so root.

TEST(EthdevTap, ExchangesFramesWithTheKernelAndWakesByDescriptor) {
  const NetNamespace ns;
  if (!ns.why_not().empty()) GTEST_SKIP() << "needs a network namespace: " << ns.why_not();
  ASSERT_TRUE(ns.run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1"));
  const PacketPool pool = test::small_pool();
  const auto port = make_ethdev_port(PortId{0}, {.name = "t", .device = "tap:slt0"}, pool.get());
  if (!port && port.error().what.find("permitted") != std::string::npos) GTEST_SKIP() << port.error().what;
  ASSERT_TRUE(port) << port.error().what;
  ASSERT_TRUE(ns.run("ip link set slt0 up"));
  const RawInterface kernel("slt0");
  ASSERT_TRUE(kernel.ok());

  const Wakeup wakeup = (*port)->wakeup(0);
  ASSERT_EQ(wakeup.kind, Wakeup::Kind::kFd);
  ASSERT_TRUE(kernel.send(udp_frame(1)));
  EXPECT_TRUE(readable(wakeup.fd, 2000));
  rte_mbuf* m = receive_one(**port);
  ASSERT_NE(m, nullptr);
  EXPECT_EQ(bytes_and_free(m), udp_frame(1));

  m = packet_with(pool.get(), udp_frame(2));
  ASSERT_EQ((*port)->transmit(0, &m, 1), 1);
  EXPECT_EQ(kernel.receive(), udp_frame(2));
}

// The one driver here that has rules at all, though none that look at a payload: those are refused, and what it has of
// its own (RSS is rules there, too) is left alone.
TEST(EthdevTap, DoesNotSteerAndKeepsItsQueues) {
  const NetNamespace ns;
  if (!ns.why_not().empty()) GTEST_SKIP() << "needs a network namespace: " << ns.why_not();
  ASSERT_TRUE(ns.run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1"));
  const PacketPool pool = test::small_pool();
  const auto port = make_ethdev_port(PortId{0}, {.name = "t", .device = "tap:slt1", .workers = 2}, pool.get());
  if (!port && port.error().what.find("permitted") != std::string::npos) GTEST_SKIP() << port.error().what;
  ASSERT_TRUE(port) << port.error().what;
  (*port)->steer({{0, 1}}, std::vector<uint16_t>{51820});
  EXPECT_EQ((*port)->steering().state, Steering::State::kRefused);
  expect_one_line((*port)->steering().why, "net_tap: ");
  ASSERT_TRUE(ns.run("ip link set slt1 up"));
  const RawInterface kernel("slt1");
  ASSERT_TRUE(kernel.ok());
  ASSERT_TRUE(kernel.send(udp_frame(1)));
  rte_mbuf* m = receive_one_of(**port, 0, (*port)->receive_queues());
  ASSERT_NE(m, nullptr);
  EXPECT_EQ(bytes_and_free(m), udp_frame(1));
}

class EthdevVeth : public testing::Test {
 protected:
  void SetUp() override {
    if (!ns_.why_not().empty()) GTEST_SKIP() << "needs a network namespace: " << ns_.why_not();
    ASSERT_TRUE(
        ns_.run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1 && "
                "ip link add va type veth peer name vb && ip link set va up"));
  }
  std::unique_ptr<Port> make(uint16_t workers, uint16_t mtu = 1500) {
    pool_ = test::small_pool(8191, 64, mtu);
    auto port = make_ethdev_port(PortId{0}, {.name = "wan", .device = "af_packet:vb", .workers = workers, .mtu = mtu},
                                 pool_.get());
    EXPECT_TRUE(port) << port.error().what;
    return port ? std::move(*port) : nullptr;
  }
  NetNamespace ns_;
  PacketPool pool_;
};

TEST_F(EthdevVeth, SetsTheInterfaceUpAndTakesItsAddress) {
  ASSERT_TRUE(ns_.run("ip link set vb address 02:00:00:00:0b:0b"));
  const auto port = make(1);
  ASSERT_NE(port, nullptr);
  EXPECT_EQ(port->mac(), *parse_mac("02:00:00:00:0b:0b"));
  EXPECT_TRUE(ns_.run("ip link show vb | grep -q '<.*UP.*>'"));
}

TEST_F(EthdevVeth, CarriesFramesBothWaysAndWakesByDescriptor) {
  const auto port = make(1);
  ASSERT_NE(port, nullptr);
  const RawInterface far("va");
  const Wakeup wakeup = port->wakeup(0);
  ASSERT_EQ(wakeup.kind, Wakeup::Kind::kFd);
  EXPECT_FALSE(readable(wakeup.fd, 0));
  for (uint16_t i = 0; i < 8; ++i) {
    ASSERT_TRUE(far.send(udp_frame(i, 1514)));
    EXPECT_TRUE(readable(wakeup.fd, 2000));
    rte_mbuf* m = receive_one(*port);
    ASSERT_NE(m, nullptr);
    EXPECT_EQ(bytes_and_free(m), udp_frame(i, 1514));
    EXPECT_FALSE(readable(wakeup.fd, 0));
  }
  rte_mbuf* m = packet_with(pool_.get(), udp_frame(77, 1514));
  ASSERT_EQ(port->transmit(0, &m, 1), 1);
  EXPECT_EQ(far.receive(), udp_frame(77, 1514));
}

TEST_F(EthdevVeth, SpreadsFlowsOverTheQueuesOfTwoWorkersAndEachWakesByItsOwnDescriptor) {
  const auto port = make(2);
  ASSERT_NE(port, nullptr);
  ASSERT_EQ(port->receive_queues(), 2);
  const Wakeup wakeups[] = {port->wakeup(0), port->wakeup(1)};
  ASSERT_NE(wakeups[0].fd, wakeups[1].fd);
  const RawInterface far("va");
  unsigned received[2] = {};
  for (uint16_t flow = 0; flow < 64; ++flow) {
    ASSERT_TRUE(far.send(udp_frame(flow)));
    pollfd either[] = {{wakeups[0].fd, POLLIN, 0}, {wakeups[1].fd, POLLIN, 0}};
    ASSERT_EQ(poll(either, 2, 2000), 1);
    const uint16_t queue = (either[0].revents & POLLIN) != 0 ? 0 : 1;
    rte_mbuf* m = nullptr;
    ASSERT_EQ(port->receive(queue, &m, 1), 1) << "the descriptor of queue " << queue << " belongs to the other";
    EXPECT_EQ(bytes_and_free(m), udp_frame(flow));
    ++received[queue];
  }
  EXPECT_GT(received[0], 8u);
  EXPECT_GT(received[1], 8u);
}

TEST_F(EthdevVeth, CountsWhatItsRingHadNoRoomFor) {
  const auto port = make(1);
  ASSERT_NE(port, nullptr);
  EXPECT_EQ(port->counters().rx_missed, 0u);
  const RawInterface far("va");
  constexpr unsigned kSent = 3000;
  for (uint16_t i = 0; i < kSent; ++i) ASSERT_TRUE(far.send(udp_frame(i)));
  unsigned received = 0;
  for (rte_mbuf* m; port->receive(0, &m, 1) == 1; ++received) rte_pktmbuf_free(m);
  EXPECT_GT(port->counters().rx_missed, 0u);
  EXPECT_EQ(received + port->counters().rx_missed, kSent);
  EXPECT_EQ(received + port->counters().rx_missed, kSent);  // reading loses nothing
}

// The mirror has the port's addresses; what Linux does with them on the interface itself would be done twice.
TEST_F(EthdevVeth, LinuxTakesNoPartInItsTraffic) {
  ASSERT_TRUE(
      ns_.run("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.vb.rp_filter=0 net.ipv6.conf.vb.disable_ipv6=0 "
              "&& ip link add wan type veth "
              "peer name wan-far && "
              "ip link set wan up && ip address add 192.0.2.1/24 dev wan"));
  const auto arp_request = [] {
    const uint8_t bytes[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0,   0, 0, 0, 1, 8, 6, 0, 1, 8, 0,   6, 4, 0,
                             1,    2,    0,    0,    0,    0,    1, 192, 0, 2, 9, 0, 0, 0, 0, 0, 0, 192, 0, 2, 1};
    const auto span = std::as_bytes(std::span(bytes));
    return std::vector<std::byte>(span.begin(), span.end());
  }();
  const auto somebody_replies = [&] {
    const RawInterface far("va");
    EXPECT_TRUE(far.send(arp_request));
    while (const auto frame = far.receive(200))
      if ((*frame)[12] == std::byte{8} && (*frame)[13] == std::byte{6}) return true;
    return false;
  };
  ASSERT_TRUE(ns_.run("ip link set vb up"));
  bool replied = false;                                                   // else the rest of this test proves nothing
  for (int i = 0; i < 20 && !replied; ++i) replied = somebody_replies();  // until the link is ready
  EXPECT_TRUE(replied);
  {
    const auto port = make(1);
    ASSERT_NE(port, nullptr);
    EXPECT_FALSE(somebody_replies());
    EXPECT_TRUE(ns_.run("test $(cat /proc/sys/net/ipv6/conf/vb/disable_ipv6) = 1"));
    rte_mbuf* m = receive_one(*port);
    ASSERT_NE(m, nullptr);
    EXPECT_EQ(bytes_and_free(m), arp_request);
  }
  EXPECT_TRUE(ns_.run("test $(cat /proc/sys/net/ipv4/conf/vb/rp_filter) = 0"));
  EXPECT_TRUE(ns_.run("test $(cat /proc/sys/net/ipv6/conf/vb/disable_ipv6) = 0"));
}

TEST_F(EthdevVeth, CarriesJumboFrames) {
  ASSERT_TRUE(ns_.run("ip link set va mtu 9000"));
  const auto port = make(1, 9000);
  ASSERT_NE(port, nullptr);
  EXPECT_TRUE(ns_.run("ip link show vb | grep -q 'mtu 9000'"));
  const RawInterface far("va");
  ASSERT_TRUE(far.send(udp_frame(1, 9014)));
  rte_mbuf* m = receive_one(*port);
  ASSERT_NE(m, nullptr);
  EXPECT_EQ(bytes_and_free(m), udp_frame(1, 9014));
  m = packet_with(pool_.get(), udp_frame(2, 9014));
  ASSERT_EQ(port->transmit(0, &m, 1), 1);
  EXPECT_EQ(far.receive(), udp_frame(2, 9014));
}

TEST_F(EthdevVeth, GoesAwayCleanly) {
  const auto descriptors = [] { return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}); };
  const auto before = descriptors();
  for (int round = 0; round < 3; ++round) ASSERT_NE(make(2), nullptr);
  EXPECT_EQ(descriptors(), before);
}

}  // namespace
}  // namespace sluice
