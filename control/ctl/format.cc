#include "control/ctl/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "control/ctl/table.h"

namespace sluice::ctl {
namespace {

using nlohmann::json;

// Runs a formatter over a parsed reply; every way in which JSON can disappoint ends here.
template <class Format>
Result<std::string> formatted(std::string_view reply, Format format) {
  try {
    return format(json::parse(reply));
  } catch (const json::exception& error) {
    return Error{fmt::format("the gateway's reply cannot be understood; are sluice and sluiced of one version? ({})",
                             error.what())};
  }
}

// --- units -----------------------------------------------------------------------------------------------------------

std::string plural(uint64_t count, std::string_view unit) {
  return fmt::format("{} {}{}", count, unit, count == 1 ? "" : "s");
}

std::string grouped(uint64_t value) {  // 1,234,567
  std::string text = std::to_string(value);
  for (size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
  return text;
}

std::string bytes(uint64_t value) {
  static constexpr std::array kUnits{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (value < 1024) return fmt::format("{} B", value);
  double amount = static_cast<double>(value) / 1024;
  size_t unit = 0;
  for (; amount >= 1024 && unit + 1 < kUnits.size(); ++unit) amount /= 1024;
  return fmt::format("{:.2f} {}", amount, kUnits[unit]);
}

std::string duration(int64_t seconds) {  // the two largest units
  if (seconds < 60) return fmt::format("{} s", seconds);
  if (seconds < 3600) return fmt::format("{} min {} s", seconds / 60, seconds % 60);
  if (seconds < 86400) return fmt::format("{} h {} min", seconds / 3600, seconds % 3600 / 60);
  return fmt::format("{} d {} h", seconds / 86400, seconds % 86400 / 3600);
}

std::string age(int64_t since, int64_t now) {
  if (since == 0) return "never";
  return since > now ? "in the future" : duration(now - since) + " ago";
}

std::string joined(const json& list) {
  std::string text;
  for (const json& item : list) text += (text.empty() ? "" : ", ") + item.get<std::string>();
  return text.empty() ? "none" : text;
}

// A field that may be missing or null.
template <class T>
T or_default(const json& object, const char* key, T fallback) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? fallback : it->get<T>();
}

// --- show ------------------------------------------------------------------------------------------------------------

// Workers with cores of their own, or how many there are wherever Linux puts them.
std::string workers(const json& list) {
  std::string cores;
  for (const json& worker : list) {
    if (const auto core = or_default<int64_t>(worker, "core", -1); core >= 0)
      cores += fmt::format("{}{}", cores.empty() ? "workers on cores " : ", ", core);
  }
  return cores.empty() ? plural(list.size(), "worker") + " on any core" : cores;
}

std::string gateway_line(const json& reply) {
  return fmt::format("gateway {}, up {}, engine {}, {}\n", reply.at("gateway").get<std::string>(),
                     duration(reply.at("uptime").get<int64_t>()), reply.at("engine").get<std::string>(),
                     workers(reply.at("workers")));
}

std::string ports(const json& list) {
  std::vector<Column> columns{{"port"},     {"device"},         {"mac"},
                              {"link"},     {"mtu", true},      {"rx packets", true},
                              {"rx", true}, {"rx drops", true}, {"tx packets", true},
                              {"tx", true}, {"tx drops", true}};
  const bool steering = std::ranges::any_of(list, [](const json& port) { return port.contains("steering"); });
  if (steering) columns.push_back({"steering"});
  Table table(std::move(columns));
  for (const json& port : list) {
    const auto number = [&](const char* key) { return port.at(key).get<uint64_t>(); };
    const auto mtu = or_default<uint64_t>(port, "mtu", 0);
    table.add({port.at("name").get<std::string>(), port.at("device").get<std::string>(),
               or_default<std::string>(port, "mac", "-"), port.at("link").get<std::string>(),
               mtu == 0 ? "-" : std::to_string(mtu), grouped(number("rx_packets")), bytes(number("rx_bytes")),
               grouped(number("rx_drops")), grouped(number("tx_packets")), bytes(number("tx_bytes")),
               grouped(number("tx_drops")), or_default<std::string>(port, "steering", "-")});
  }
  return table.empty() ? "" : "\n" + table.text();
}

std::string tunnel_line(const json& tunnel) {
  return fmt::format("\ntunnel {}, public key {}, port {}, mtu {}, {}\n", tunnel.at("name").get<std::string>(),
                     or_default<std::string>(tunnel, "public_key", "none"), tunnel.at("listen_port").get<unsigned>(),
                     tunnel.at("mtu").get<unsigned>(), plural(tunnel.at("peers").size(), "peer"));
}

std::string display_name(const json& peer) {
  return or_default<std::string>(peer, "name", peer.at("public_key").get<std::string>());
}

std::string peers(const json& list, int64_t now) {
  Table table({{"peer"}, {"endpoint"}, {"handshake"}, {"received", true}, {"sent", true}, {"allowed ips"}}, "  ");
  for (const json& peer : list) {
    table.add({display_name(peer), or_default<std::string>(peer, "endpoint", "unknown"),
               age(peer.at("latest_handshake").get<int64_t>(), now), bytes(peer.at("rx_bytes").get<uint64_t>()),
               bytes(peer.at("tx_bytes").get<uint64_t>()), joined(peer.at("allowed_ips"))});
  }
  return table.empty() ? "" : table.text();
}

std::string peer_block(const json& peer, const json& tunnel, int64_t now) {
  const auto keepalive = peer.at("persistent_keepalive").get<unsigned>();
  const auto session = or_default<int64_t>(peer, "session_age", -1);
  const auto worker = or_default<int64_t>(peer, "owner_worker", -1);
  const std::vector<std::pair<std::string_view, std::string>> lines{
      {"tunnel", tunnel.at("name").get<std::string>()},
      {"public key", peer.at("public_key").get<std::string>()},
      {"preshared key", or_default(peer, "preshared_key", false) ? "(hidden)" : "none"},
      {"endpoint", or_default<std::string>(peer, "endpoint", "unknown")},
      {"allowed ips", joined(peer.at("allowed_ips"))},
      {"latest handshake", age(peer.at("latest_handshake").get<int64_t>(), now)},
      {"session",
       session < 0 ? "none" : duration(session) + " old" + (worker < 0 ? "" : fmt::format(", worker {}", worker))},
      {"received", bytes(peer.at("rx_bytes").get<uint64_t>())},
      {"sent", bytes(peer.at("tx_bytes").get<uint64_t>())},
      {"keepalive", keepalive == 0 ? "off" : fmt::format("every {} s", keepalive)}};
  std::string text = fmt::format("peer {}\n", display_name(peer));
  for (const auto& [label, value] : lines) text += fmt::format("  {:<17} {}\n", label, value);
  return text;
}

// --- stats -----------------------------------------------------------------------------------------------------------

// Nothing for a worker that was never saturated.
std::string spread_line(const json& worker) {
  const json spread = worker.value("spread", json::object());
  const auto count = [&](const char* key) { return spread.value(key, uint64_t{0}); };
  if (count("bursts") == 0) return "";
  return fmt::format("  saturated: {} bursts shared, {} of their packets done by other workers, {} stalls\n",
                     grouped(count("bursts")), grouped(count("packets_helped")), grouped(count("stalls")));
}

// Nothing where no message arrived at the wrong worker.
std::string handoff_line(const json& worker) {
  const auto count = or_default<uint64_t>(worker, "handed_off", 0);
  return count == 0 ? "" : fmt::format("  handed to the workers they belong to: {} data messages\n", grouped(count));
}

std::string worker_block(const json& worker) {
  Table table({{"stage"}, {"calls", true}, {"packets", true}, {"packets/call", true}, {"cycles/packet", true}}, "  ");
  for (const json& stage : worker.at("stages")) {
    table.add({stage.at("name").get<std::string>(), grouped(stage.at("calls").get<uint64_t>()),
               grouped(stage.at("packets").get<uint64_t>()),
               fmt::format("{:.1f}", stage.at("packets_per_call").get<double>()),
               fmt::format("{:.1f}", stage.at("cycles_per_packet").get<double>())});
  }
  const auto core = or_default<int64_t>(worker, "core", -1);
  return fmt::format("worker {} on {}: {} polls, {:.1f} % idle, {:.1f} % of the time asleep\n",
                     worker.at("worker").get<unsigned>(), core < 0 ? "any core" : fmt::format("core {}", core),
                     grouped(worker.at("polls").get<uint64_t>()), 100 * worker.at("idle").get<double>(),
                     100 * worker.at("sleep").get<double>()) +
         spread_line(worker) + handoff_line(worker) + (table.empty() ? "" : table.text());
}

}  // namespace

Result<std::string> format_show(std::string_view reply, int64_t now) {
  return formatted(reply, [&](const json& show) {
    std::string text = gateway_line(show);
    if (show.contains("ports")) text += ports(show.at("ports"));
    for (const json& tunnel : show.at("tunnels")) text += tunnel_line(tunnel) + peers(tunnel.at("peers"), now);
    return text;
  });
}

Result<std::string> format_show_peer(std::string_view reply, int64_t now) {
  return formatted(reply, [&](const json& show) {
    std::string text;
    for (const json& tunnel : show.at("tunnels"))
      for (const json& peer : tunnel.at("peers")) text += (text.empty() ? "" : "\n") + peer_block(peer, tunnel, now);
    return text;
  });
}

Result<std::string> format_stats(std::string_view reply) {
  return formatted(reply, [](const json& stats) {
    std::string text;
    for (const json& worker : stats.at("workers")) text += (text.empty() ? "" : "\n") + worker_block(worker);
    return text;
  });
}

Result<std::string> format_drops(std::string_view reply) {
  return formatted(reply, [](const json& drops) -> std::string {
    Table table({{"packets", true}, {"reason"}, {""}});
    for (const json& drop : drops.at("drops")) {
      table.add({grouped(drop.at("packets").get<uint64_t>()), drop.at("reason").get<std::string>(),
                 drop.at("text").get<std::string>()});
    }
    return table.empty() ? "no packet was dropped\n" : table.text();
  });
}

Result<std::string> format_reload(std::string_view reply) {
  return formatted(reply, [](const json& reload) -> std::string {
    std::string text;
    for (const json& line : reload.at("applied")) text += line.get<std::string>() + "\n";
    return text.empty() ? "nothing to change\n" : text;
  });
}

Result<std::string> format_json(std::string_view reply) {
  return formatted(reply, [](json object) {
    object.erase("ok");
    return object.dump(2) + "\n";
  });
}

Result<void> check_reply(std::string_view reply) {
  const auto error = formatted(reply, [](const json& object) -> std::string {
    if (object.at("ok").get<bool>()) return "";
    std::string text = object.at("error").get<std::string>();
    for (const json& line : or_default(object, "errors", json::array())) text += "\n" + line.get<std::string>();
    return text;
  });
  if (!error) return error.error();
  if (!error->empty()) return Error{*error};
  return {};
}

}  // namespace sluice::ctl
