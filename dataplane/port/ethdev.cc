#include "dataplane/port/ethdev.h"

#include <poll.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_eth_bond.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_spinlock.h>
#include <rte_version.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <iterator>
#include <string_view>
#include <thread>
#include <vector>

#include "dataplane/port/active_backup.h"
#include "dataplane/port/device.h"
#include "dataplane/port/dpdk_log.h"
#include "dataplane/port/frame_size.h"
#include "dataplane/port/interface.h"
#include "dataplane/port/nic_steering.h"
#include "dataplane/port/removal_notice.h"
#include "dataplane/port/rss.h"

namespace sluice {
namespace {

constexpr uint64_t kTransmitChecksums = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
constexpr uint64_t kReceiveChecksums =
    RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
constexpr uint64_t kReceiveVlans = RTE_ETH_RX_OFFLOAD_VLAN_STRIP | RTE_ETH_RX_OFFLOAD_VLAN_FILTER;

// An interface that went down leaves an error on its socket, which would be ready at once until somebody reads it.
void clear_error(int socket) {
  int error;
  socklen_t size = sizeof error;
  getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size);
}

// A started ethdev that is ours alone: stopped, closed and, unless it is a NIC, removed from DPDK at the end.
class OwnedEthdev {
 public:
  OwnedEthdev(uint16_t id, bool is_nic) : id_(id), is_nic_(is_nic) {}
  OwnedEthdev(OwnedEthdev&& other) noexcept : id_(std::exchange(other.id_, RTE_MAX_ETHPORTS)), is_nic_(other.is_nic_) {}
  OwnedEthdev& operator=(OwnedEthdev&&) = delete;
  ~OwnedEthdev() { close(!is_nic_); }
  // RTE_MAX_ETHPORTS once it is closed.
  uint16_t id() const noexcept { return id_; }
  // `remove`: DPDK gives up the device as well, which for a NIC is what VFIO waits for when it is unplugged.
  void close(bool remove) {
    const uint16_t id = std::exchange(id_, RTE_MAX_ETHPORTS);
    if (id == RTE_MAX_ETHPORTS) return;
    rte_eth_dev_info info{};
    const bool known = rte_eth_dev_info_get(id, &info) == 0;
    rte_eth_dev_stop(id);
    rte_eth_dev_close(id);
    if (known && remove) rte_dev_remove(info.device);
  }

 private:
  uint16_t id_;
  bool is_nic_;
};

std::string describe(const EthdevOptions& options) {
  if (options.members.empty()) return options.device;
  std::string text = options.bond == EthdevOptions::Bond::kLacp ? "lacp:" : "active-backup:";
  for (const std::string& member : options.members) text += (text.back() == ':' ? "" : "+") + member;
  return text;
}

// What was found out while configuring.
struct Configured {
  uint16_t receive_queues = 0, transmit_queues = 0;
  bool transmit_lock = false;  // fewer transmit queues than workers, and the device does not lock itself
  bool interrupts = false;
  Port::Offloads offloads;
  uint64_t transmit_offloads = 0;
  Mac mac;
};

// What Linux has of a port whose frames come from a kernel interface, before the driver opens its sockets.
struct KernelSide {
  unsigned interface_index = 0;  // 0: no such port
  std::vector<int> sockets_before;
  SilencedInterface silenced;
};

// A device that is part of a port: the bond starts and stops it.
struct Member {
  KernelSide linux_side;
  OwnedEthdev ethdev;
  std::string interface;  // where its frames come from, if that is one of Linux's
};

bool is_tap(const Device& device) { return device.driver == "net_tap" || device.driver == "net_tun"; }

std::vector<ActiveBackup::Member> links_of(const std::vector<Member>& members) {
  std::vector<ActiveBackup::Member> links;
  for (const Member& member : members) links.push_back({member.ethdev.id(), member.interface});
  return links;
}

class EthdevPort final : public Port {
 public:
  EthdevPort(PortId id, const EthdevOptions& options, std::vector<Member> members, OwnedEthdev ethdev,
             const Configured& configured, std::vector<int> sockets, SilencedInterface silenced, const Device& device)
      : Port(id, options.name, options.vlan),
        removal_(device.pci),
        members_(std::move(members)),
        ethdev_(std::move(ethdev)),
        dpdk_port_(ethdev_.id()),
        workers_(options.workers),
        configured_(configured),
        sockets_(std::move(sockets)),
        silenced_(std::move(silenced)),
        is_tap_(is_tap(device)),
        speaks_lacp_(!members_.empty() && options.bond == EthdevOptions::Bond::kLacp),
        mtu_(options.mtu),
        device_(describe(options)),
        locks_(configured.transmit_lock ? configured.transmit_queues : 0) {
    if (options.steering) steering_.emplace(make_ethdev_rules(dpdk_port_));
    if (!members_.empty() && !speaks_lacp_) active_backup_.emplace(dpdk_port_, links_of(members_));
  }

  uint16_t receive_queues() const noexcept override { return configured_.receive_queues; }
  uint16_t transmit_queues() const noexcept override { return workers_; }

  uint16_t receive(uint16_t queue, rte_mbuf** packets, uint16_t n) noexcept override {
    return rte_eth_rx_burst(dpdk_port_, queue, packets, n);
  }

  uint16_t transmit(uint16_t queue, rte_mbuf** packets, uint16_t n) noexcept override {
    const uint16_t device_queue = static_cast<uint16_t>(queue % configured_.transmit_queues);
    // Devices that compute checksums may want the pseudo-header's in place.
    if (configured_.transmit_offloads != 0) n = rte_eth_tx_prepare(dpdk_port_, device_queue, packets, n);
    if (locks_.empty()) [[likely]]
      return rte_eth_tx_burst(dpdk_port_, device_queue, packets, n);
    rte_spinlock_lock(&locks_[device_queue].lock);
    const uint16_t sent = rte_eth_tx_burst(dpdk_port_, device_queue, packets, n);
    rte_spinlock_unlock(&locks_[device_queue].lock);
    return sent;
  }

  bool transmits_by_itself() const noexcept override { return speaks_lacp_; }

  Wakeup wakeup(uint16_t queue) noexcept override {
    if (queue < sockets_.size()) {
      clear_error(sockets_[queue]);
      return {Wakeup::Kind::kFd, sockets_[queue]};
    }
    if (!configured_.interrupts) return {};
    const int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(dpdk_port_, queue);
    if (fd < 0) return {};
    if (is_tap_) return {Wakeup::Kind::kFd, fd};  // the TUN descriptor itself: nothing to arm, and it must not be read
    return {Wakeup::Kind::kInterrupt, fd};
  }

  void arm_interrupt(uint16_t queue, bool on) noexcept override {
    if (on) {
      rte_eth_dev_rx_intr_enable(dpdk_port_, queue);
      return;
    }
    rte_eth_dev_rx_intr_disable(dpdk_port_, queue);
    pollfd fired{rte_eth_dev_rx_intr_ctl_q_get_fd(dpdk_port_, queue), POLLIN, 0};
    uint64_t count;
    if (fired.fd < 0 || poll(&fired, 1, 0) != 1) return;
    [[maybe_unused]] const ssize_t n = read(fired.fd, &count, sizeof count);
  }

  Mac mac() const noexcept override { return configured_.mac; }
  uint16_t mtu() const noexcept override { return mtu_; }
  bool link_up() const noexcept override {
    if (is_tap_) return true;  // its interface may be in another namespace, out of the driver's sight
    rte_eth_link link{};
    return rte_eth_link_get_nowait(ethdev_.id(), &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
  }
  PortCounters counters() const noexcept override {
    rte_eth_stats s{};
    if (rte_eth_stats_get(ethdev_.id(), &s) != 0) return last_;
    for (const int socket : sockets_) missed_ += take_missed_frames(socket);  // of which the driver knows nothing
    return {.rx_packets = s.ipackets,
            .rx_bytes = s.ibytes,
            .rx_missed = s.imissed + s.rx_nombuf + missed_,
            .rx_errors = s.ierrors,
            .tx_packets = s.opackets,
            .tx_bytes = s.obytes,
            .tx_errors = s.oerrors};
  }
  std::string device() const override { return device_; }
  bool is_leaving() const noexcept override { return ethdev_.id() != RTE_MAX_ETHPORTS && removal_.asked(); }
  void give_back() noexcept override {
    last_ = counters();
    steer({}, {});
    ethdev_.close(true);
  }
  Offloads offloads() const noexcept override { return configured_.offloads; }

  void steer(const QueueByIndex& queues, std::span<const uint16_t> listen_ports) override {
    if (steering_ && ethdev_.id() != RTE_MAX_ETHPORTS) steering_->follow(queues, listen_ports);
  }
  Steering steering() const override { return steering_ ? steering_->state() : Steering{Steering::State::kOff, {}}; }

 private:
  struct alignas(64) TransmitLock {
    rte_spinlock_t lock = RTE_SPINLOCK_INITIALIZER;
  };

  RemovalNotice removal_;
  std::vector<Member> members_;  // outlive the bond
  OwnedEthdev ethdev_;
  uint16_t dpdk_port_;  // workers'; no other port's as long as they use it
  uint16_t workers_;
  Configured configured_;
  std::vector<int> sockets_;  // the driver's, one per receive queue, if it has any; not ours to close
  SilencedInterface silenced_;
  mutable uint64_t missed_ = 0;  // by those sockets so far: reading takes what the kernel has counted. Control thread
  PortCounters last_;            // of a device that was given back
  bool is_tap_;
  bool speaks_lacp_;
  uint16_t mtu_;
  std::string device_;
  std::vector<TransmitLock> locks_;
  std::optional<ActiveBackup> active_backup_;  // of such a bond
  std::optional<NicSteering> steering_;        // no value: it is switched off
};

Error failed(const EthdevOptions& options, const std::string& what, int status) {
  const int error = status < 0 ? -status : status;
  return Error{"port " + options.name + ": " + with_dpdk_reason(describe(options) + " " + what, error), error};
}

// The largest IP packet that the device says it takes.
uint16_t largest_mtu(const rte_eth_dev_info& info) {
  const uint32_t by_frame =
      info.max_rx_pktlen - std::min<uint32_t>(info.max_rx_pktlen, RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN);
  return static_cast<uint16_t>(std::min<uint32_t>(info.max_mtu, by_frame));
}

// With virtio's receive checksums the host hands over packets whose checksum nobody has computed yet
// (virtio 1.2, 5.1.6.4: VIRTIO_NET_HDR_F_NEEDS_CSUM), and they would go into a tunnel like that. Declined, the host
// computes them.
uint64_t receive_checksums(const rte_eth_dev_info& info) {
  const bool virtio = std::string_view(info.driver_name).starts_with("net_virtio");
  return virtio ? 0 : info.rx_offload_capa & kReceiveChecksums;
}

rte_eth_conf configuration_for(const rte_eth_dev_info& info, uint16_t receive_queues, uint16_t mtu, bool vlans,
                               bool interrupts) {
  rte_eth_conf conf{};
  conf.rxmode.offloads = receive_checksums(info);
  if (vlans) conf.rxmode.offloads |= info.rx_offload_capa & kReceiveVlans;
  conf.txmode.offloads = info.tx_offload_capa & kTransmitChecksums;
  // A neighbour may send what the link usually carries even if we are told to send less.
  conf.rxmode.mtu = std::max<uint16_t>(mtu, RTE_ETHER_MTU);
  if (const uint64_t functions = rss_functions(info.flow_type_rss_offloads); receive_queues > 1 && functions != 0) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf = functions;
  }
  conf.intr_conf.rxq = interrupts;
  return conf;
}

// One attempt, with receive interrupts or without; 0 or a negative errno. `what` says where it ended.
struct Attempt {
  int status;
  const char* what;
};
Attempt configure_and_start(uint16_t port, const rte_eth_conf& conf, const Configured& wanted, rte_mempool* pool) {
  if (int s = rte_eth_dev_configure(port, wanted.receive_queues, wanted.transmit_queues, &conf)) {
    return {s, "refuses its configuration"};
  }
  uint16_t receive_slots = kDescriptors, transmit_slots = kDescriptors;
  if (int s = rte_eth_dev_adjust_nb_rx_tx_desc(port, &receive_slots, &transmit_slots)) {
    return {s, "refuses its queue sizes"};
  }
  const int node = rte_eth_dev_socket_id(port);
  const auto numa = static_cast<unsigned>(node);  // SOCKET_ID_ANY is -1 in both
  for (uint16_t q = 0; q < wanted.receive_queues; ++q) {
    if (int s = rte_eth_rx_queue_setup(port, q, receive_slots, numa, nullptr, pool)) {
      return {s, "refuses a receive queue"};
    }
  }
  for (uint16_t q = 0; q < wanted.transmit_queues; ++q) {
    if (int s = rte_eth_tx_queue_setup(port, q, transmit_slots, numa, nullptr)) return {s, "refuses a transmit queue"};
  }
  return {rte_eth_dev_start(port), "does not start"};
}

// A peer over shared memory may come up a little later than we do.
Attempt start_with_patience(uint16_t port, const rte_eth_conf& conf, const Configured& wanted, rte_mempool* pool,
                            bool patient) {
  constexpr auto kPatience = std::chrono::seconds(5);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    forget_dpdk_log();
    const Attempt attempt = configure_and_start(port, conf, wanted, pool);
    if (attempt.status == 0 || !patient || std::chrono::steady_clock::now() > deadline) return attempt;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

// Some devices (virtio, virtual functions) pass on no tagged frame until they are told of its VLAN. 0 is no VLAN but a
// priority, as Linux has it; a driver that knows no such entry lets these pass.
Result<void> admit_vlans(uint16_t port, const EthdevOptions& options, const rte_eth_conf& conf) {
  if ((conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_VLAN_FILTER) == 0) return {};
  rte_eth_dev_vlan_filter(port, 0, 1);
  for (const uint16_t vlan : options.vlans) {
    forget_dpdk_log();
    if (int s = rte_eth_dev_vlan_filter(port, vlan, 1))
      return failed(options, "refuses VLAN " + std::to_string(vlan), s);
  }
  return {};
}

Mac mac_of(uint16_t port, const std::optional<Mac>& wanted) {
  rte_ether_addr address{};
  if (wanted) {
    std::memcpy(address.addr_bytes, wanted->bytes.data(), sizeof address.addr_bytes);
    rte_eth_dev_default_mac_addr_set(port, &address);  // a device that cannot (ring) still receives everything
    return *wanted;
  }
  rte_eth_macaddr_get(port, &address);
  if (rte_is_zero_ether_addr(&address)) rte_eth_random_addr(address.addr_bytes);
  Mac mac;
  std::memcpy(mac.bytes.data(), address.addr_bytes, mac.bytes.size());
  return mac;
}

Result<Configured> bring_up(uint16_t port, const EthdevOptions& options, const Device& device, rte_mempool* pool) {
  rte_eth_dev_info info{};
  if (int s = rte_eth_dev_info_get(port, &info)) return failed(options, "does not describe itself", s);
  if (info.max_rx_queues == 0 || info.max_tx_queues == 0) return failed(options, "has no queues", ENODEV);
  // The kernel's interface has been given the MTU already; its drivers know of no other than 1500.
  const uint16_t device_mtu = device.interface.empty() ? options.mtu : RTE_ETHER_MTU;
  if (device_mtu > largest_mtu(info) && device_mtu > RTE_ETHER_MTU) {
    return Error{"port " + options.name + ": mtu " + std::to_string(options.mtu) + " is more than " + options.device +
                 " takes (" + std::to_string(largest_mtu(info)) + ")"};
  }

  Configured c;
  c.receive_queues = std::min(options.workers, info.max_rx_queues);
  c.transmit_queues = std::min(options.workers, info.max_tx_queues);
  c.interrupts = device.interrupts;
  rte_eth_conf conf = configuration_for(info, c.receive_queues, device_mtu, !options.vlans.empty(), device.interrupts);
  const bool patient = !device.connects_to.empty();
  Attempt attempt = start_with_patience(port, conf, c, pool, patient);
  if (attempt.status != 0 && c.interrupts && !patient) {
    c.interrupts = false;  // some devices cannot start with them
    conf.intr_conf.rxq = 0;
    attempt = start_with_patience(port, conf, c, pool, false);
  }
  if (attempt.status != 0) return failed(options, attempt.what, attempt.status);
  if (Result<void> admitted = admit_vlans(port, options, conf); !admitted) return admitted.error();

  rte_eth_promiscuous_disable(port);
  // A router hears neighbour discovery, OSPF, VRRP. Not every device filters, but an LACP bond does what they do not.
  const bool hears_multicast = rte_eth_allmulticast_enable(port) == 0;
  if (!hears_multicast && !options.members.empty()) rte_eth_promiscuous_enable(port);
  c.transmit_offloads = conf.txmode.offloads;
  c.transmit_lock = c.transmit_queues < options.workers && (info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MT_LOCKFREE) == 0;
  c.offloads = {.ipv4_checksum = (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0,
                .udp_checksum = (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) != 0,
                .rx_ipv4_checksum = (conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM) != 0,
                .rx_l4_checksum = (conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_UDP_CKSUM) != 0 &&
                                  (conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_TCP_CKSUM) != 0};
  c.mac = mac_of(port, options.mac);
  return c;
}

// Asking for interrupts succeeds everywhere and proves nothing: the first queue is tried.
bool interrupts_work(uint16_t port, bool tap) {
  if (tap) return rte_eth_dev_rx_intr_ctl_q_get_fd(port, 0) >= 0;
  if (rte_eth_dev_rx_intr_enable(port, 0) != 0) return false;
  rte_eth_dev_rx_intr_disable(port, 0);
  return true;
}

bool somebody_listens(const std::string& path) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool refused = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
                       (errno == ECONNREFUSED || errno == ENOENT);
  close(fd);
  return !refused;
}

// A socket that a killed process left behind would keep the driver from listening there.
Result<void> clear_stale_socket(const EthdevOptions& options, const std::string& path) {
  if (path.empty() || access(path.c_str(), F_OK) != 0) return {};
  if (somebody_listens(path)) {
    return Error{"port " + options.name + ": " + path + " is in use by another process", EADDRINUSE};
  }
  if (unlink(path.c_str()) == 0) return {};
  const int error = errno;
  return Error{"port " + options.name + ": " + path + " cannot be replaced: " + std::strerror(error), error};
}

Result<uint16_t> create_ethdev(const Device& device, const EthdevOptions& options) {
  const std::string name = !device.pci.empty()    ? device.pci
                           : !device.name.empty() ? device.name
                                                  : device.driver + '_' + options.name;
  uint16_t port = RTE_MAX_ETHPORTS;
  if (device.pci.empty()) {
    if (rte_eth_dev_get_port_by_name(name.c_str(), &port) == 0) {
      return Error{"port " + options.name + ": " + options.device + " belongs to another port", EEXIST};
    }
    const std::string arguments = port_arguments(device, options.workers, options.mtu, options.devargs);
    forget_dpdk_log();
    if (int s = rte_eal_hotplug_add("vdev", name.c_str(), arguments.c_str())) {
      return failed(options, "cannot be created", s);
    }
  }
  if (rte_eth_dev_get_port_by_name(name.c_str(), &port) == 0) return port;
  if (device.pci.empty()) {
    rte_eal_hotplug_remove("vdev", name.c_str());
    return Error{"port " + options.name + ": " + options.device + " is no ethernet device", ENODEV};
  }
  return Error{"port " + options.name + ": no driver took " + options.device +
                   "; bind it to vfio-pci (dpdk-devbind.py) or check that its driver's package is installed",
               ENODEV};
}

Result<KernelSide> prepare_kernel_side(const Device& device, uint16_t mtu) {
  KernelSide side;
  if (device.interface.empty()) return side;
  const Result<unsigned> index = prepare_interface(device.interface, mtu);
  if (!index) return index.error();
  const bool linux_sees_frames = device.driver == "net_af_packet";
  return KernelSide{.interface_index = *index,
                    .sockets_before = frame_sockets(*index),
                    .silenced = linux_sees_frames ? SilencedInterface(device.interface) : SilencedInterface()};
}

Result<std::unique_ptr<Port>> start_port(PortId id, const EthdevOptions& options, const Device& device,
                                         std::vector<Member> members, OwnedEthdev ethdev, rte_mempool* pool,
                                         KernelSide linux_side) {
  Result<Configured> configured = bring_up(ethdev.id(), options, device, pool);
  if (!configured) return configured.error();
  configured->interrupts = configured->interrupts && interrupts_work(ethdev.id(), is_tap(device));

  std::vector<int> sockets;
  if (linux_side.interface_index != 0) {
    const std::vector<int> now = frame_sockets(linux_side.interface_index);
    std::set_difference(now.begin(), now.end(), linux_side.sockets_before.begin(), linux_side.sockets_before.end(),
                        std::back_inserter(sockets));
    if (sockets.size() != configured->receive_queues) sockets.clear();  // not as we know the driver: do not guess
  }
  return std::unique_ptr<Port>(new EthdevPort(id, options, std::move(members), std::move(ethdev), *configured,
                                              std::move(sockets), std::move(linux_side.silenced), device));
}

// A device of its own or part of a bond, up to where DPDK has it. `options.name` is unique among them.
Result<Member> create_member(const EthdevOptions& options, const Device& device) {
  Result<KernelSide> linux_side = prepare_kernel_side(device, options.mtu);
  if (!linux_side) return Error{"port " + options.name + ": " + linux_side.error().what, linux_side.error().code};
  if (Result<void> cleared = clear_stale_socket(options, device.listens_at); !cleared) return cleared.error();
  const Result<uint16_t> dpdk_port = create_ethdev(device, options);
  if (!dpdk_port) return dpdk_port.error();
  return Member{std::move(*linux_side), OwnedEthdev(*dpdk_port, !device.pci.empty()), device.interface};
}

int add_to_bond(uint16_t bond, uint16_t member) {
#if RTE_VERSION >= RTE_VERSION_NUM(23, 11, 0, 0)
  return rte_eth_bond_member_add(bond, member);
#else
  return rte_eth_bond_slave_add(bond, member);
#endif
}

// Members that are there, bound together.
Result<uint16_t> create_bond(const EthdevOptions& options, const std::vector<Member>& members) {
  const bool lacp = options.bond == EthdevOptions::Bond::kLacp;
  const std::string name = "net_bonding_" + options.name;
  forget_dpdk_log();
  const int bond = rte_eth_bond_create(name.c_str(), lacp ? BONDING_MODE_8023AD : BONDING_MODE_ACTIVE_BACKUP, 0);
  if (bond < 0) return failed(options, "cannot be created", bond);
  const auto id = static_cast<uint16_t>(bond);
  for (size_t i = 0; i < members.size(); ++i) {
    const int status = add_to_bond(id, members[i].ethdev.id());
    if (status == 0) continue;
    rte_eth_bond_free(name.c_str());
    return failed(options, "does not take " + options.members[i], status);
  }
  if (lacp) rte_eth_bond_xmit_policy_set(id, BALANCE_XMIT_POLICY_LAYER34);  // a flow stays on one member
  return id;
}

Result<std::unique_ptr<Port>> make_bond_port(PortId id, const EthdevOptions& options, rte_mempool* pool) {
  std::vector<Member> members;
  for (const std::string& text : options.members) {
    const Result<Device> device = parse_device(text);
    if (!device) return Error{"port " + options.name + ": " + device.error().what};
    EthdevOptions part = options;
    part.name += '_' + std::to_string(members.size());
    part.device = text;
    Result<Member> member = create_member(part, *device);
    if (!member) return member.error();
    members.push_back(std::move(*member));
  }
  const Result<uint16_t> bond = create_bond(options, members);
  if (!bond) return bond.error();
  Device device;
  device.interrupts = false;
  return start_port(id, options, device, std::move(members), OwnedEthdev(*bond, false), pool, {});
}

}  // namespace

Result<DeviceNeeds> device_needs(const std::string& device, const std::string& devargs) {
  Result<Device> parsed = parse_device(device);
  if (!parsed) return parsed.error();
  std::string pci = parsed->pci;
  if (!pci.empty() && !devargs.empty()) pci += ',' + devargs;
  return DeviceNeeds{.driver = parsed->library, .pci = pci};
}

Result<std::unique_ptr<Port>> make_ethdev_port(PortId id, const EthdevOptions& options, rte_mempool* pool) {
  if (!options.members.empty()) return make_bond_port(id, options, pool);
  const Result<Device> device = parse_device(options.device);
  if (!device) return Error{"port " + options.name + ": " + device.error().what};
  Result<Member> made = create_member(options, *device);
  if (!made) return made.error();
  return start_port(id, options, *device, {}, std::move(made->ethdev), pool, std::move(made->linux_side));
}

Result<std::unique_ptr<Port>> adopt_ethdev_port(PortId id, const EthdevOptions& options, uint16_t dpdk_port,
                                                rte_mempool* pool) {
  return start_port(id, options, Device{}, {}, OwnedEthdev(dpdk_port, false), pool, {});
}

size_t packet_pool_size(uint32_t buffers, uint16_t private_size, uint16_t mtu) noexcept {
  rte_mempool_objsz sizes;
  const auto element = static_cast<uint32_t>(sizeof(rte_mbuf) + private_size + RTE_PKTMBUF_HEADROOM + frame_room(mtu));
  return size_t{rte_mempool_calc_obj_size(element, 0, &sizes)} * buffers;
}

Result<PacketPool> make_packet_pool(const std::string& name, uint32_t buffers, uint16_t private_size, uint16_t mtu) {
  constexpr unsigned kCache = 256;  // per lcore
  const auto room = static_cast<uint16_t>(RTE_PKTMBUF_HEADROOM + frame_room(mtu));
  forget_dpdk_log();
  PacketPool pool(rte_pktmbuf_pool_create(name.c_str(), buffers, kCache, private_size, room, SOCKET_ID_ANY));
  if (pool != nullptr) return pool;
  const int error = rte_errno;
  return Error{with_dpdk_reason("no memory for " + std::to_string(buffers) + " packet buffers of " +
                                    std::to_string(room) + " bytes; raise gateway.memory",
                                error),
               error};
}

}  // namespace sluice
