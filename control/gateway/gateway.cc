#include "control/gateway/gateway.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <csignal>
#include <string>
#include <string_view>
#include <vector>

#include "control/gateway/api_server.h"
#include "control/gateway/configurator.h"
#include "control/gateway/control_plane.h"
#include "control/gateway/endpoint_names.h"
#include "control/gateway/environment.h"
#include "control/gateway/linux_network.h"
#include "control/gateway/publisher.h"
#include "control/gateway/resolver.h"
#include "control/gateway/signals.h"
#include "control/gateway/slow_path.h"
#include "control/gateway/uapi_conversation.h"
#include "control/loop/unix_server.h"
#include "dataplane/base/random.h"
#include "dataplane/crypto/primitives.h"
#include "dataplane/crypto/select.h"
#include "dataplane/pipeline/packet.h"
#include "dataplane/port/eal.h"
#include "dataplane/port/ethdev.h"
#include "dataplane/port/vlan.h"

namespace sluice {
namespace {

constexpr uint32_t kBuffersPerWorker = 8192, kBuffersPerPort = 4096;
constexpr unsigned kOtherMemory = 160;  // MiB, for rings, tables and what drivers ask for
constexpr Nanoseconds kFirstDump = std::chrono::seconds(5);

std::vector<ReversePath> reverse_paths(const config::Model& model) {
  std::vector<ReversePath> result;
  for (const config::Port& port : model.ports) {
    using Filter = config::ReversePathFilter;
    result.push_back(port.reverse_path_filter == Filter::kStrict  ? ReversePath::kSamePort
                     : port.reverse_path_filter == Filter::kLoose ? ReversePath::kRouted
                                                                  : ReversePath::kAny);
  }
  return result;
}

std::vector<std::string> devices_of(const config::Port& port) {  // none: it is a VLAN of another
  if (!port.parent.empty()) return {};
  if (port.members.empty()) return {config::to_string(port.device)};
  std::vector<std::string> devices;
  for (const config::Device& member : port.members) devices.push_back(config::to_string(member));
  return devices;
}

EthdevOptions ethdev_options(const config::Model& model, const config::Port& port) {
  EthdevOptions options;
  options.name = port.name;
  if (port.members.empty()) options.device = config::to_string(port.device);
  if (!port.members.empty()) options.members = devices_of(port);
  options.bond = port.bond == config::BondMode::kLacp ? EthdevOptions::Bond::kLacp : EthdevOptions::Bond::kActiveBackup;
  options.devargs = port.devargs;
  const auto workers = static_cast<uint16_t>(model.gateway.workers.size());
  options.workers = port.queues != 0 ? port.queues : workers;
  options.mtu = port.mtu;
  options.steering = port.steering == config::Steering::kAuto;
  options.vlan = port.vlan.value_or(0);
  for (const config::Port& other : model.ports)
    if (other.vlan && (other.name == port.name || other.parent == port.name)) options.vlans.push_back(*other.vlan);
  return options;
}

// First those with devices: the others are VLANs on their cables.
Result<std::vector<std::unique_ptr<Port>>> make_ports(const config::Model& model, rte_mempool* pool) {
  const std::vector<config::Port>& wanted = model.ports;
  std::vector<std::unique_ptr<Port>> ports(wanted.size());
  for (uint16_t i = 0; i < wanted.size(); ++i) {
    if (!wanted[i].parent.empty()) continue;
    auto made = make_ethdev_port(PortId{i}, ethdev_options(model, wanted[i]), pool);
    if (!made) return made.error();
    ports[i] = std::move(*made);
  }
  for (uint16_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i].parent.empty()) continue;
    const auto parent = std::find_if(ports.begin(), ports.end(),
                                     [&](const auto& port) { return port && port->name() == wanted[i].parent; });
    const VlanOptions options{.name = wanted[i].name,
                              .vlan = *wanted[i].vlan,
                              .mtu = wanted[i].mtu,
                              .workers = static_cast<uint16_t>(model.gateway.workers.size())};
    ports[i] = make_vlan_port(PortId{i}, options, **parent);
  }
  return ports;
}

// All packets that the gateway holds at any time, on their way or waiting, are in these.
struct PacketBuffers {
  uint32_t count;
  uint16_t mtu = 1500;  // of the widest port: every buffer holds a whole frame
  size_t bytes() const { return packet_pool_size(count, kPacketMetaSize, mtu); }
};

PacketBuffers packet_buffers(const config::Model& model) {
  const auto devices = std::count_if(model.ports.begin(), model.ports.end(),
                                     [](const config::Port& port) { return port.parent.empty(); });
  PacketBuffers buffers{static_cast<uint32_t>(model.gateway.workers.size() * kBuffersPerWorker) +
                        static_cast<uint32_t>(devices) * kBuffersPerPort};
  for (const config::Port& port : model.ports) buffers.mtu = std::max(buffers.mtu, port.mtu);
  return buffers;
}

Result<EalOptions> eal_options(const config::Model& model) {
  EalOptions options;
  options.worker_cores = model.gateway.workers;
  options.hugepages =
      model.gateway.hugepages == config::Hugepages::kOff ? EalOptions::Hugepages::kNever : EalOptions::Hugepages::kAuto;
  const auto needed = static_cast<unsigned>(packet_buffers(model).bytes() >> 20) + kOtherMemory;
  options.memory_mib = model.gateway.memory != 0 ? model.gateway.memory : std::max(options.memory_mib, needed);
  for (const config::Port& port : model.ports) {
    for (const std::string& device : devices_of(port)) {
      auto needs = device_needs(device, port.devargs);
      if (!needs) return Error{"port " + port.name + ": " + needs.error().what};
      if (!needs->driver.empty()) options.drivers.push_back(needs->driver);
      if (!needs->pci.empty()) options.pci.push_back(needs->pci);
    }
  }
  return options;
}

// For the log: nanoseconds per packet are those that the choice was made by.
std::string why_this_engine(std::string_view configured) {
  if (configured != "auto") return "as configured";
  std::string reason = "the fastest here; a packet sealed and opened in";
  for (const EngineSpeed& engine : engine_speeds())
    reason += fmt::format("{} {:.0f} ns by {}", &engine == &engine_speeds().front() ? "" : ",", engine.nanoseconds,
                          engine.name);
  return reason;
}

}  // namespace

// In the order in which it is made; destroyed in reverse.
struct Gateway::State {
  explicit State(const Clock& c) : clock(c) {}

  const Clock& clock;
  SystemRng rng;
  Signals signals{SIGTERM, SIGINT, SIGHUP};
  EventLoop loop;
  DropCounters drops;  // control's own
  Environment environment;
  std::unique_ptr<LinuxNetwork> network;
  std::unique_ptr<Dataplane> dataplane;
  std::unique_ptr<Wireguard> wireguard;
  std::unique_ptr<Publisher> publisher;
  std::unique_ptr<SlowPath> slow_path;
  std::unique_ptr<Resolver> resolver;
  std::unique_ptr<EndpointNames> endpoint_names;
  std::unique_ptr<Configurator> configurator;
  std::unique_ptr<ControlPlane> control;
  std::unique_ptr<ApiServer> api;
  std::vector<std::unique_ptr<UnixServer>> servers;

  ~State() {
    servers.clear();
    if (dataplane) dataplane->stop();
  }

  Result<void> start_dataplane(const config::Model& model);
  Result<void> start_control(std::shared_ptr<const config::Model> model, config::Machine machine);
  Result<void> serve(const config::Model& model);
  void on_signal();
};

Result<std::unique_ptr<Gateway>> Gateway::start(std::shared_ptr<const config::Model> model, config::Machine machine,
                                                const Clock& clock) {
  if (!crypto_init()) return Error{"the system gives no random numbers"};
  auto state = std::make_unique<State>(clock);
  if (auto done = state->start_dataplane(*model); !done) return done.error();
  if (auto done = state->start_control(model, std::move(machine)); !done) return done.error();
  if (auto done = state->serve(*model); !done) return done.error();
  if (auto done = state->dataplane->start(); !done) return done.error();
  spdlog::info("{}: {} workers, {} ports, {} tunnels", model->gateway.name, state->dataplane->worker_count(),
               model->ports.size(), model->tunnels.size());
  spdlog::info("{}: engine {}, {}", model->gateway.name, state->dataplane->engine_name(),
               why_this_engine(model->gateway.engine));
  const PacketBuffers buffers = packet_buffers(*model);
  spdlog::info("{}: {} packet buffers for frames of MTU {}: {} MiB", model->gateway.name, buffers.count, buffers.mtu,
               buffers.bytes() >> 20);
  return std::unique_ptr<Gateway>(new Gateway(std::move(state)));
}

Gateway::Gateway(std::unique_ptr<State> state) : state_(std::move(state)) {}
Gateway::~Gateway() = default;

Result<void> Gateway::State::start_dataplane(const config::Model& model) {
  const bool engine_known = model.gateway.engine == "auto" || make_engine(model.gateway.engine) != nullptr;
  if (!engine_known) {
    std::string names = "auto";
    for (std::string_view name : available_engines()) names += ", " + std::string(name);
    return Error{"gateway.engine: this CPU or build has no engine " + model.gateway.engine + "; it has: " + names};
  }
  auto options = eal_options(model);
  if (!options) return options.error();
  if (auto started = start_eal(*options); !started) return started;
  environment.started = true;

  const PacketBuffers buffers = packet_buffers(model);
  auto pool = make_packet_pool("packets", buffers.count, kPacketMetaSize, buffers.mtu);
  if (!pool) return pool.error();

  auto ports = make_ports(model, pool->get());
  if (!ports) return ports.error();
  Dataplane::Options wanted;
  wanted.worker_cores = model.gateway.workers;
  wanted.idle = model.gateway.idle == config::Idle::kPoll ? IdlePolicy::kPoll : IdlePolicy::kAdaptive;
  if (model.gateway.spread && wanted.worker_cores.size() > 1) wanted.spread.emplace();
  wanted.engine = model.gateway.engine == "auto" ? std::string() : model.gateway.engine;
  auto made = Dataplane::create(wanted, std::move(*pool), std::move(*ports), clock, rng);
  if (!made) return made.error();
  dataplane = std::move(*made);
  return {};
}

Result<void> Gateway::State::start_control(std::shared_ptr<const config::Model> model, config::Machine machine) {
  auto made = LinuxNetwork::create(loop, clock, rng);
  if (!made) return made.error();
  network = std::move(*made);
  wireguard = std::make_unique<Wireguard>(Wireguard::Parts{*dataplane, clock, rng, *network, drops});
  publisher = std::make_unique<Publisher>(*dataplane, *wireguard);
  publisher->set_reverse_paths(reverse_paths(*model));
  slow_path = std::make_unique<SlowPath>(SlowPath::Parts{*dataplane, *wireguard, *network, loop, clock, drops});
  resolver = std::make_unique<Resolver>(loop);
  endpoint_names = std::make_unique<EndpointNames>(EndpointNames::Parts{*wireguard, *resolver, clock});
  configurator = std::make_unique<Configurator>(
      Configurator::Parts{*wireguard, *network, *endpoint_names, *dataplane, std::move(machine)}, model);
  control = std::make_unique<ControlPlane>(
      ControlPlane::Parts{loop, clock, *dataplane, *wireguard, *network, *slow_path, *publisher, *endpoint_names});

  if (auto done = configurator->apply_all(); !done) return done;
  for (auto& [id, mirror] : network->port_mirrors()) slow_path->watch(id, mirror);
  for (auto& [id, mirror] : network->tunnel_mirrors()) slow_path->watch(id, mirror);
  if (auto done = network->wait_until_settled(kFirstDump); !done) return done;
  control->turn();  // the first tables are published before the first packet is received
  return {};
}

Result<void> Gateway::State::serve(const config::Model& model) {
  const auto publish = [this] { control->publish(); };
  for (const auto& tunnel : wireguard->tunnels()) {
    const auto converse = [&tunnel = *tunnel] { return std::make_unique<UapiConversation>(tunnel); };
    auto server = UnixServer::create(loop, kUapiDirectory + tunnel->name() + ".sock", converse, publish);
    if (!server) return server.error();
    servers.push_back(std::move(*server));
  }
  ApiServer::About about{model.gateway.name, model.gateway.workers, {}};
  for (const Port* port : dataplane->ports()) about.devices.push_back(port->device());
  api = std::make_unique<ApiServer>(ApiServer::Parts{clock, *dataplane, *wireguard, configurator.get(), drops},
                                    std::move(about));
  const auto converse = [this] { return api->converse(); };
  auto server = UnixServer::create(loop, model.gateway.socket_path(), converse, publish);
  if (!server) return server.error();
  servers.push_back(std::move(*server));
  loop.add(signals.fd(), EPOLLIN, [this](uint32_t) { on_signal(); });
  return {};
}

void Gateway::State::on_signal() {
  const int signal = signals.next();
  if (signal == SIGTERM || signal == SIGINT) control->stop();
  if (signal != SIGHUP) return;
  sd_notify(0, "RELOADING=1");
  const Configurator::Reloaded result = configurator->reload();
  for (const std::string& line : result.errors) spdlog::error("reload: {}", line);
  for (const std::string& line : result.applied) spdlog::info("reload: {}", line);
  sd_notify(0, "READY=1");
}

void Gateway::run() {
  sd_notify(0, "READY=1");
  state_->control->run();
  sd_notify(0, "STOPPING=1");
}

}  // namespace sluice
