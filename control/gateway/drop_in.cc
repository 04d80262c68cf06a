#include "control/gateway/drop_in.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <rte_mbuf.h>
#include <sched.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <vector>

#include "control/api/protocol.h"
#include "control/gateway/api_server.h"
#include "control/gateway/control_loop.h"
#include "control/gateway/environment.h"
#include "control/gateway/signals.h"
#include "control/gateway/socket_routes.h"
#include "control/gateway/uapi_conversation.h"
#include "control/linux/icmp_error.h"
#include "control/linux/tun_device.h"
#include "control/linux/tun_watch.h"
#include "control/loop/unix_server.h"
#include "dataplane/base/random.h"
#include "dataplane/crypto/primitives.h"
#include "dataplane/pipeline/packet.h"
#include "dataplane/port/tun.h"
#include "dataplane/port/udp_socket.h"
#include "dataplane/wire/ip.h"

namespace sluice {
namespace {

constexpr PortId kTunPort{0}, kSocketPort{1};
constexpr uint16_t kDefaultMtu = 1420;
constexpr uint32_t kBuffers = 2048, kBuffersPerWorker = 4096, kLargeBuffers = 32;
constexpr unsigned kMemoryMib = 16, kMemoryMibPerWorker = 16;
constexpr unsigned kPuntsPerTurn = 64;
constexpr unsigned kDefaultWorkers = 4;  // at most

struct FreeMbuf {
  void operator()(rte_mbuf* packet) const noexcept { rte_pktmbuf_free(packet); }
};
using Packet = std::unique_ptr<rte_mbuf, FreeMbuf>;

// As every implementation does; the administrator, or wg-quick, sets what fits.
Result<void> set_mtu(const std::string& interface, uint16_t mtu) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  interface.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_mtu = mtu;
  const int code = ioctl(fd, SIOCSIFMTU, &request) == 0 ? 0 : errno;
  close(fd);
  if (code == 0) return {};
  return Error{"interface " + interface + ": cannot set its MTU: " + std::strerror(code), code};
}

// On a host with a few cores only, whoever sends and receives needs them as much as we do.
unsigned workers_for_this_host() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return 1;
  return std::clamp<unsigned>(static_cast<unsigned>(CPU_COUNT(&cores)) / 2, 1, kDefaultWorkers);
}

// The descriptors of its queues, one for each worker.
Result<std::vector<int>> make_tun(const std::string& interface, unsigned workers) {
  const auto flags = static_cast<short>(IFF_TUN | IFF_VNET_HDR | (workers > 1 ? IFF_MULTI_QUEUE : 0));
  std::vector<int> fds;
  const auto give_up = [&fds](Error why) {
    for (const int fd : fds) close(fd);
    return why;
  };
  for (unsigned i = 0; i < workers; ++i) {
    auto fd = i == 0 ? create_tun_device(interface, flags) : attach_tun_queue(interface, flags);
    if (!fd) return give_up(fd.error());
    fds.push_back(*fd);
  }
  if (auto set = set_mtu(interface, kDefaultMtu); !set) return give_up(set.error());
  return fds;
}

// A descriptor that somebody else has opened: it must be what we think.
Result<std::vector<int>> adopt_tun(int fd) {
  ifreq request{};
  if (ioctl(fd, TUNGETIFF, &request) != 0)
    return Error{"WG_TUN_FD: descriptor " + std::to_string(fd) + " is not a TUN: " + std::strerror(errno), errno};
  constexpr int kWanted = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  if ((request.ifr_flags & (kWanted | IFF_TAP)) != kWanted)
    return Error{"WG_TUN_FD: the TUN needs IFF_NO_PI and IFF_VNET_HDR", EINVAL};
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  return std::vector<int>{fd};
}

// Readable when the file at `path` goes away.
class FileWatch {
 public:
  explicit FileWatch(const std::string& path) : fd_(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
    inotify_add_watch(fd_, path.c_str(), IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF);
  }
  ~FileWatch() { close(fd_); }
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;
  int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

}  // namespace

// The host's side of the loop: the interface's state, Linux's routes, and ICMP errors to those who send where no peer
// is.
class HostSide final : public ControlLoop {
 public:
  struct Parts {  // everything here outlives it
    EventLoop& loop;
    Dataplane& dataplane;
    Wireguard& wireguard;
    Tunnel& tunnel;
    SocketRoutes& routes;
    const Clock& clock;
    DropCounters& drops;
  };
  HostSide(const Core& core, const Parts& parts, TunWatch interface, RouteWatch route_watch)
      : ControlLoop(core), parts_(parts), interface_(std::move(interface)), route_watch_(std::move(route_watch)) {
    watch_interface();
    parts_.loop.add(route_watch_.fd(), EPOLLIN, [this](uint32_t) {
      route_watch_.drain();
      routes_changed_ = true;
    });
    follow_interface();
  }
  ~HostSide() override {
    parts_.loop.remove(watched_);
    parts_.loop.remove(route_watch_.fd());
  }

 private:
  bool look_after_host() override;
  void watch_interface();
  void on_interface();
  void follow_interface();
  Result<void> bring_up();
  void take_down();
  void answer_punt(Packet packet);

  Parts parts_;
  TunWatch interface_;
  RouteWatch route_watch_;
  int watched_ = -1;  // the descriptor of interface_ that the loop knows
  bool routes_changed_ = false;
  TokenBucket icmp_limit_ = make_icmp_limiter();
};

void HostSide::watch_interface() {
  watched_ = interface_.fd();
  parts_.loop.add(watched_, EPOLLIN, [this](uint32_t) { on_interface(); });
}

void HostSide::on_interface() {
  parts_.loop.remove(watched_);  // it may be another one afterwards
  interface_.update();
  watch_interface();
  follow_interface();
}

void HostSide::follow_interface() {
  const TunWatch::State& state = interface_.state();
  if (state.gone) {
    spdlog::info("{}: interface deleted", parts_.tunnel.name());
    return stop();
  }
  parts_.tunnel.set_mtu(static_cast<uint16_t>(std::min<uint32_t>(state.mtu, UINT16_MAX)));
  if (state.up == parts_.tunnel.up()) return;
  if (!state.up) return take_down();
  if (auto done = bring_up(); !done) spdlog::error("{}: stays down: {}", parts_.tunnel.name(), done.error().what);
}

// Sockets first: peers that keep their connections alive start at once.
Result<void> HostSide::bring_up() {
  Tunnel& tunnel = parts_.tunnel;
  if (tunnel.listen_port() == 0) {
    if (auto chosen = tunnel.set_listen_port(0); !chosen) return chosen;
  }
  if (auto opened = parts_.routes.listen(tunnel.listen_port()); !opened) return opened;
  tunnel.forget_sources();
  tunnel.set_up(true);
  spdlog::debug("{}: up, port {}", tunnel.name(), tunnel.listen_port());
  return {};
}

void HostSide::take_down() {
  parts_.tunnel.set_up(false);
  parts_.routes.close();
  spdlog::debug("{}: down", parts_.tunnel.name());
}

bool HostSide::look_after_host() {
  if (std::exchange(routes_changed_, false)) parts_.tunnel.forget_sources();
  bool more = false;
  for (uint8_t w = 0; w < parts_.dataplane.worker_count(); ++w) {
    rte_mbuf* packets[kPuntsPerTurn];
    const unsigned n = parts_.dataplane.mailbox(WorkerId{w}).take_punts(packets, kPuntsPerTurn);
    for (unsigned i = 0; i < n; ++i) answer_punt(Packet(packets[i]));
    more |= n == kPuntsPerTurn;
  }
  return more;
}

// "Destination unreachable" comes from the destination itself, as far as the sender can tell: an address of our own
// would be a martian on the interface, and the way back to this one is the interface.
void HostSide::answer_punt(Packet packet) {
  if (!icmp_limit_.take(parts_.clock.now())) return;
  const ConstBytes offending = bytes_of(packet.get());
  const auto message = make_icmp_error(offending, {IcmpError::kHostUnreachable, 0, destination_of(offending)});
  if (!message) return;
  Packet answer(rte_pktmbuf_alloc(parts_.dataplane.pool()));
  char* bytes = answer ? rte_pktmbuf_append(answer.get(), static_cast<uint16_t>(message->size())) : nullptr;
  if (bytes == nullptr) return parts_.drops.add(Drop::no_buffer);
  std::memcpy(bytes, message->data(), message->size());
  Command command{};
  command.kind = CommandKind::kTransmit;
  command.port = kTunPort;
  command.packet = answer.get();
  if (parts_.dataplane.mailbox(meta(packet.get()).from.worker).post_command(command)) {
    (void)answer.release();
  } else {
    parts_.drops.add(Drop::inbox_full);
  }
}

// In the order in which it is made; destroyed in reverse.
struct DropIn::State {
  explicit State(const Clock& c) : clock(c) {}

  const Clock& clock;
  SystemRng rng;
  Signals signals{SIGTERM, SIGINT};
  EventLoop loop;
  DropCounters drops;  // control's own
  Environment environment;
  PacketPool large_buffers;
  UdpSocketPort* socket_port = nullptr;  // the data plane's
  std::unique_ptr<Dataplane> dataplane;
  std::unique_ptr<SocketRoutes> routes;
  std::unique_ptr<Wireguard> wireguard;
  std::unique_ptr<Publisher> publisher;
  std::unique_ptr<HostSide> host;
  std::unique_ptr<ApiServer> api;
  std::unique_ptr<UnixServer> server, api_server;
  std::unique_ptr<FileWatch> socket_file;

  ~State() {
    api_server.reset();
    server.reset();
    if (dataplane) dataplane->stop();
  }

  Result<void> start_dataplane(const std::string& interface, const std::vector<int>& tun, unsigned workers);
  Result<void> start_control(const std::string& interface, int tun);
  Result<void> serve(const Options& options);
  void serve_api(const std::string& interface);
};

Result<std::unique_ptr<DropIn>> DropIn::start(const Options& options, const Clock& clock) {
  if (!crypto_init()) return Error{"the system gives no random numbers"};
  const unsigned workers = options.workers != 0 ? options.workers : workers_for_this_host();
  auto tun = options.tun >= 0 ? adopt_tun(options.tun) : make_tun(options.interface, workers);
  if (!tun) return tun.error();
  auto state = std::make_unique<State>(clock);
  if (auto done = state->start_dataplane(options.interface, *tun, workers); !done) return done.error();
  if (auto done = state->start_control(options.interface, tun->front()); !done) return done.error();
  if (auto done = state->serve(options); !done) return done.error();
  if (auto done = state->dataplane->start(); !done) return done.error();
  spdlog::info("{}: {} workers, engine {}", options.interface, workers, state->dataplane->engine_name());
  return std::unique_ptr<DropIn>(new DropIn(std::move(state)));
}

DropIn::DropIn(std::unique_ptr<State> state) : state_(std::move(state)) {}
DropIn::~DropIn() = default;

Result<void> DropIn::State::start_dataplane(const std::string& interface, const std::vector<int>& tun,
                                            unsigned workers) {
  EalOptions options;
  options.worker_cores.assign(workers, kAnyCore);
  options.hugepages = EalOptions::Hugepages::kNever;
  options.memory_mib = kMemoryMib + workers * kMemoryMibPerWorker;
  if (auto started = start_eal(options); !started) return started;
  environment.started = true;
  auto pool = make_packet_pool("packets", kBuffers + workers * kBuffersPerWorker, kPacketMetaSize, 1500);
  if (!pool) return pool.error();
  auto large = make_large_packet_pool("large", kLargeBuffers, kPacketMetaSize);
  if (!large) return large.error();
  large_buffers = std::move(*large);
  const Buffers buffers{pool->get(), large_buffers.get()};

  std::vector<std::unique_ptr<Port>> ports;
  auto tun_port = make_tun_port(kTunPort, interface, tun, static_cast<uint16_t>(workers), buffers);
  if (!tun_port) return tun_port.error();
  ports.push_back(std::move(*tun_port));
  auto udp_port = make_udp_socket_port(kSocketPort, "socket", static_cast<uint16_t>(workers), buffers);
  if (!udp_port) return udp_port.error();
  socket_port = udp_port->get();
  ports.push_back(std::move(*udp_port));

  Dataplane::Options wanted;
  wanted.worker_cores = options.worker_cores;
  wanted.idle = IdlePolicy::kSleep;
  auto made = Dataplane::create(wanted, std::move(*pool), std::move(ports), clock, rng);
  if (!made) return made.error();
  dataplane = std::move(*made);
  return {};
}

Result<void> DropIn::State::start_control(const std::string& interface, int tun) {
  routes = std::make_unique<SocketRoutes>(*socket_port);
  wireguard = std::make_unique<Wireguard>(Wireguard::Parts{*dataplane, clock, rng, *routes, drops});
  publisher = std::make_unique<Publisher>(*dataplane, *wireguard);
  Tunnel& tunnel = *wireguard->add_tunnel(interface);
  tunnel.set_inner_port(kTunPort);
  auto interface_watch = TunWatch::open(tun);
  if (!interface_watch) return interface_watch.error();
  auto route_watch = RouteWatch::open();
  if (!route_watch) return route_watch.error();
  host = std::make_unique<HostSide>(ControlLoop::Core{loop, clock, *dataplane, *wireguard, *publisher},
                                    HostSide::Parts{loop, *dataplane, *wireguard, tunnel, *routes, clock, drops},
                                    std::move(*interface_watch), std::move(*route_watch));
  host->turn();  // the first root is published before the first packet is received
  return {};
}

Result<void> DropIn::State::serve(const Options& options) {
  Tunnel& tunnel = *wireguard->tunnels().front();
  const std::string path = kUapiDirectory + options.interface + ".sock";
  const auto converse = [&tunnel] { return std::make_unique<UapiConversation>(tunnel); };
  const auto publish = [this] { host->publish(); };
  auto made = options.socket >= 0 ? UnixServer::adopt(loop, path, options.socket, converse, publish)
                                  : UnixServer::create(loop, path, converse, publish);
  if (!made) return made.error();
  server = std::move(*made);
  socket_file = std::make_unique<FileWatch>(path);
  loop.add(socket_file->fd(), EPOLLIN, [this](uint32_t) { host->stop(); });
  loop.add(signals.fd(), EPOLLIN, [this](uint32_t) {
    if (signals.next() != 0) host->stop();
  });
  serve_api(options.interface);
  return {};
}

// For `sluice show` and the like. A host on which it cannot be has its tunnel all the same.
void DropIn::State::serve_api(const std::string& interface) {
  ApiServer::About about{interface, {}, {}};
  about.cores.assign(dataplane->worker_count(), kAnyCore);
  for (const Port* port : dataplane->ports()) about.devices.push_back(port->device());
  api = std::make_unique<ApiServer>(ApiServer::Parts{clock, *dataplane, *wireguard, nullptr, drops}, std::move(about));
  const std::string path = std::string(api::kDefaultRunDirectory) + "/" + interface + std::string(api::kSocketSuffix);
  auto made = UnixServer::create(
      loop, path, [this] { return api->converse(); }, [this] { host->publish(); });
  if (made) {
    api_server = std::move(*made);
  } else {
    spdlog::warn("{}: without `sluice show`: {}", interface, made.error().what);
  }
}

void DropIn::run() { state_->host->run(); }

}  // namespace sluice
