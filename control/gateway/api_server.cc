#include "control/gateway/api_server.h"

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "control/api/protocol.h"
#include "dataplane/port/eal.h"

namespace sluice {
namespace {

using nlohmann::json;

json failure(const std::string& text) { return {{"ok", false}, {"error", text}}; }

json describe_port(const std::string& device, Port& port) {
  const PortCounters c = port.counters();
  json result = {{"name", port.name()},        {"device", device},       {"link", port.link_up() ? "up" : "down"},
                 {"rx_packets", c.rx_packets}, {"rx_bytes", c.rx_bytes}, {"rx_drops", c.rx_missed + c.rx_errors},
                 {"tx_packets", c.tx_packets}, {"tx_bytes", c.tx_bytes}, {"tx_drops", c.tx_errors}};
  if (const Steering steering = port.steering(); steering.state != Steering::State::kNone) {
    result["steering"] = steering.state == Steering::State::kOn    ? "on"
                         : steering.state == Steering::State::kOff ? "off"
                                                                   : "refused";
    if (!steering.why.empty()) result["steering_refusal"] = steering.why;
  }
  if (port.carries() == Port::Carries::kFrames) {  // others leave addresses and MTU to Linux
    result["mac"] = to_string(port.mac());
    result["mtu"] = port.mtu();
  }
  return result;
}

json describe_worker(size_t worker, unsigned core) {
  json result = {{"worker", worker}};
  if (core != kAnyCore) result["core"] = core;
  return result;
}

json describe_peer(const Tunnel& tunnel, const PeerControl& peer, MonoTime now) {
  json allowed = json::array();
  for (const Prefix& prefix : tunnel.allowed_ips(peer)) allowed.push_back(to_string(prefix));
  json result = {{"public_key", to_base64(peer.public_key.bytes)},
                 {"allowed_ips", std::move(allowed)},
                 {"latest_handshake", peer.last_handshake().seconds},
                 {"rx_bytes", peer.rx_bytes()},
                 {"tx_bytes", peer.tx_bytes()},
                 {"persistent_keepalive", peer.persistent_keepalive},
                 {"preshared_key", !peer.preshared_key.is_zero()}};
  if (!peer.name.empty()) result["name"] = peer.name;
  if (!peer.at.remote.is_none()) result["endpoint"] = to_string(peer.at.remote);
  if (const uint16_t mtu = peer.path.limit(); mtu != 0) result["path_mtu"] = mtu;
  if (const Keypair* current = peer.current()) {
    result["session_age"] = std::chrono::duration_cast<std::chrono::seconds>(now - current->birth()).count();
    result["owner_worker"] = current->receiving.owner.value;
  }
  return result;
}

double share(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0.0 : std::min(1.0, static_cast<double>(part) / static_cast<double>(whole));
}

json describe_stage(Stage stage, const StageCounters& c) {
  const uint64_t calls = c.calls.load(), packets = c.packets.load(), cycles = c.cycles.load();
  return {{"name", stage_name(stage)},
          {"calls", calls},
          {"packets", packets},
          {"cycles", cycles},
          {"cycles_per_packet", packets == 0 ? 0.0 : static_cast<double>(cycles) / static_cast<double>(packets)},
          {"packets_per_call", calls == 0 ? 0.0 : static_cast<double>(packets) / static_cast<double>(calls)}};
}

class ApiConversation final : public Conversation {
 public:
  explicit ApiConversation(ApiServer& server) : server_(server) {}

  bool feed(std::string_view bytes, std::string& output) override {
    pending_ += bytes;
    if (pending_.size() > api::kMaxRequest) {
      output += failure("request longer than " + std::to_string(api::kMaxRequest) + " bytes").dump() + "\n";
      return false;
    }
    if (pending_.back() != '\n') return true;
    pending_.pop_back();
    const auto request = api::parse_request(pending_);
    pending_.clear();
    output += (request ? server_.answer(*request) : failure(request.error().what).dump()) + "\n";
    return request || request.error().code != EPROTO;
  }

 private:
  ApiServer& server_;
  std::string pending_;
};

}  // namespace

std::unique_ptr<Conversation> ApiServer::converse() { return std::make_unique<ApiConversation>(*this); }

// The four operations.
struct ApiOperations {
  const ApiServer::About& about;
  const MonoTime started;
  const Clock& clock;
  Dataplane& dataplane;
  Wireguard& wireguard;
  Configurator* configurator;
  const DropCounters& control_drops;

  json show(const std::string& tunnel_name, const std::string& wanted) const {
    const MonoTime now = clock.now();
    json reply = {
        {"ok", true}, {"gateway", about.gateway}, {"version", SLUICE_VERSION}, {"engine", dataplane.engine_name()}};
    reply["uptime"] = std::chrono::duration_cast<std::chrono::seconds>(now - started).count();
    reply["workers"] = json::array();
    for (size_t w = 0; w < about.cores.size(); ++w) reply["workers"].push_back(describe_worker(w, about.cores[w]));
    if (tunnel_name.empty() && wanted.empty()) {
      reply["ports"] = json::array();
      for (size_t i = 0; i < about.devices.size(); ++i)
        reply["ports"].push_back(describe_port(about.devices[i], *dataplane.ports()[i]));
    }
    bool found = tunnel_name.empty() && wanted.empty();
    reply["tunnels"] = json::array();
    for (const auto& tunnel : wireguard.tunnels()) {
      if (!tunnel_name.empty() && tunnel->name() != tunnel_name) continue;
      json peers = json::array();
      for (const PeerControl& peer : tunnel->peers())
        if (wanted.empty() || wanted == peer.name || wanted == to_base64(peer.public_key.bytes))
          peers.push_back(describe_peer(*tunnel, peer, now));
      if (!wanted.empty() && peers.empty()) continue;
      found = true;
      json entry = {{"name", tunnel->name()}, {"listen_port", tunnel->listen_port()}, {"mtu", tunnel->mtu()}};
      if (tunnel->identity()) entry["public_key"] = to_base64(tunnel->identity()->public_key.bytes);
      entry["peers"] = std::move(peers);
      reply["tunnels"].push_back(std::move(entry));
    }
    if (!found) return failure(wanted.empty() ? "no tunnel " + tunnel_name : "no peer " + wanted);
    return reply;
  }

  json stats() const {
    json workers = json::array();
    const auto uptime = static_cast<uint64_t>((clock.now() - started).count());
    for (size_t w = 0; w < dataplane.workers().size(); ++w) {
      const WorkerStats& s = dataplane.workers()[w]->stats();
      json stages = json::array();
      for (size_t i = 0; i < kStages; ++i)
        if (s.stages[i].calls.load() != 0) stages.push_back(describe_stage(static_cast<Stage>(i), s.stages[i]));
      json worker = describe_worker(w, about.cores[w]);
      worker["polls"] = s.polls.load();
      worker["idle"] = share(s.empty_polls.load(), s.polls.load());
      worker["sleep"] = share(s.asleep_ns.load(), uptime);
      worker["spread"] = {{"bursts", s.spread_bursts.load()},
                          {"packets_helped", s.spread_packets_helped.load()},
                          {"stalls", s.spread_stalls.load()}};
      worker["handed_off"] = s.handed_off.load();
      worker["stages"] = std::move(stages);
      workers.push_back(std::move(worker));
    }
    return {{"ok", true}, {"gateway", about.gateway}, {"workers", std::move(workers)}};
  }

  json drops(bool all) const {
    json list = json::array();
    for (size_t i = 0; i < kDropReasons; ++i) {
      const auto reason = static_cast<Drop>(i);
      const uint64_t packets = dataplane.drops(reason) + control_drops.get(reason);
      if (all || packets != 0)
        list.push_back({{"reason", drop_name(reason)}, {"text", drop_text(reason)}, {"packets", packets}});
    }
    return {{"ok", true}, {"gateway", about.gateway}, {"drops", std::move(list)}};
  }

  json reload() const {
    if (configurator == nullptr)
      return failure(about.gateway + " has no configuration file to read again: `wg syncconf " + about.gateway +
                     " FILE` applies what changed");
    const Configurator::Reloaded result = configurator->reload();
    if (result.errors.empty()) return {{"ok", true}, {"applied", result.applied}};
    json reply =
        failure(result.applied.empty() ? "the configuration was not changed" : "not everything could be applied");
    reply["errors"] = result.errors;
    if (!result.applied.empty()) reply["applied"] = result.applied;
    return reply;
  }
};

std::string ApiServer::answer(const api::Request& request) {
  const ApiOperations run{
      about_, started_, parts_.clock, parts_.dataplane, parts_.wireguard, parts_.configurator, parts_.control_drops};
  switch (request.op) {
    case api::Op::kShow:
      return run.show(request.tunnel, request.peer).dump();
    case api::Op::kStats:
      return run.stats().dump();
    case api::Op::kDrops:
      return run.drops(request.all).dump();
    case api::Op::kReload:
      return run.reload().dump();
  }
  return {};
}

}  // namespace sluice
