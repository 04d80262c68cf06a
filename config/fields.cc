#include "config/fields.h"

#include <concepts>

#include "config/values.h"

namespace sluice::config {
namespace {

std::string toml(const std::string& text) { return in_quotes(text); }
std::string toml(std::unsigned_integral auto value) requires(!std::same_as<decltype(value), bool>) {
  return std::to_string(value);
}
std::string toml(std::same_as<bool> auto value) { return value ? "true" : "false"; }

template <class Enum, size_t N>
std::string toml(Enum value, const std::array<Word<Enum>, N>& words) {
  for (const Word<Enum>& word : words)
    if (word.value == value) return in_quotes(word.text);
  return "\"\"";
}

template <class Integer, size_t N>
std::string number_or_word(std::optional<Integer> value, const std::array<Word<std::optional<Integer>>, N>& words) {
  const std::string word = toml(value, words);
  return word == "\"\"" ? std::to_string(*value) : word;
}

std::string or_off(unsigned value) { return value == 0 ? "\"off\"" : std::to_string(value); }

template <class T>
std::string list_of(const std::vector<T>& values) {
  using sluice::to_string;
  std::string text;
  for (const T& value : values) {
    if (!text.empty()) text += ", ";
    if constexpr (std::is_integral_v<T>)
      text += std::to_string(value);
    else
      text += in_quotes(to_string(value));
  }
  return "[" + text + "]";
}

Field key_field(std::string_view inline_key, std::string_view file_key, const std::string& file) {
  return file.empty() ? Field{inline_key, in_quotes("(hidden)")} : Field{file_key, in_quotes(file)};
}

}  // namespace

std::vector<Field> fields_of(const Gateway& gateway) {
  std::vector<Field> fields{{"name", toml(gateway.name)},
                            {"workers", list_of(gateway.workers)},
                            {"idle", toml(gateway.idle, kIdleWords)},
                            {"spread", toml(gateway.spread)},
                            {"engine", toml(gateway.engine)},
                            {"hugepages", toml(gateway.hugepages, kHugepagesWords)}};
  if (gateway.memory != 0) fields.push_back({"memory", toml(gateway.memory)});
  fields.push_back({"run-directory", toml(gateway.run_directory)});
  return fields;
}

std::vector<Field> fields_of(const Port& port) {
  std::vector<Field> fields{{"name", toml(port.name)}};
  if (!port.parent.empty()) {
    fields.push_back({"parent", toml(port.parent)});
  } else if (!port.members.empty()) {
    fields.push_back({"members", list_of(port.members)});
    fields.push_back({"bond", toml(port.bond, kBondWords)});
  } else {
    fields.push_back({"device", toml(to_string(port.device))});
  }
  if (!port.devargs.empty()) fields.push_back({"devargs", toml(port.devargs)});
  fields.push_back({"addresses", list_of(port.addresses)});
  fields.push_back({"mtu", toml(port.mtu)});
  if (port.queues != 0) fields.push_back({"queues", toml(port.queues)});
  if (port.steering != Steering::kAuto) fields.push_back({"steering", toml(port.steering, kSteeringWords)});
  if (port.reverse_path_filter != ReversePathFilter::kOff)
    fields.push_back({"reverse-path-filter", toml(port.reverse_path_filter, kReversePathWords)});
  if (port.vlan) fields.push_back({"vlan", toml(*port.vlan)});
  return fields;
}

std::vector<Field> fields_of(const Route& route) {
  std::vector<Field> fields{{"to", toml(sluice::to_string(route.to))}};
  if (route.via) fields.push_back({"via", toml(sluice::to_string(*route.via))});
  if (!route.dev.empty()) fields.push_back({"dev", toml(route.dev)});
  return fields;
}

std::vector<Field> fields_of(const Tunnel& tunnel) {
  return {{"name", toml(tunnel.name)},
          key_field("private-key", "private-key-file", tunnel.private_key_file),
          {"listen-port", toml(tunnel.listen_port)},
          {"addresses", list_of(tunnel.addresses)},
          {"mtu", number_or_word(tunnel.mtu, kMtuWords)},
          {"mss-clamp", toml(tunnel.mss_clamp)},
          {"path-mtu-probe", toml(tunnel.path_mtu_probe)},
          {"dscp", number_or_word(tunnel.dscp, kDscpWords)},
          {"routes", toml(tunnel.routes, kRoutesWords)},
          {"fwmark", or_off(tunnel.fwmark)},
          {"shared-allowed-ips", toml(tunnel.shared_allowed_ips)}};
}

std::vector<Field> fields_of(const Peer& peer) {
  std::vector<Field> fields;
  if (!peer.name.empty()) fields.push_back({"name", toml(peer.name)});
  fields.push_back({"public-key", toml(to_base64(peer.public_key.bytes))});
  if (!peer.preshared_key.is_zero())
    fields.push_back(key_field("preshared-key", "preshared-key-file", peer.preshared_key_file));
  if (peer.endpoint) fields.push_back({"endpoint", toml(to_string(*peer.endpoint))});
  fields.push_back({"allowed-ips", list_of(peer.allowed_ips)});
  fields.push_back({"persistent-keepalive", or_off(peer.persistent_keepalive)});
  return fields;
}

}  // namespace sluice::config
