// The only file that knows TOML++. Top to bottom: how a table is read, then one function for each table of the file.
#include "config/parse.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <span>

#include "config/keys.h"
#include "config/values.h"

namespace sluice::config {
namespace {

Position begin_of(const toml::node& node) { return {node.source().begin.line, node.source().begin.column}; }

std::string type_of(const toml::node& node) {
  if (node.is_string()) return "a string";
  if (node.is_integer()) return "an integer";
  if (node.is_floating_point()) return "a fraction";
  if (node.is_boolean()) return "a boolean";
  if (node.is_table()) return "a table";
  if (node.is_array()) return "an array";
  return "a date or time";
}

std::string range_text(int64_t lowest, int64_t highest) {
  return std::to_string(lowest) + ".." + std::to_string(highest);
}

// Reads one table, field by field. Every field that is asked for becomes a known one; finish() complains about the
// rest. All readers answer nullopt for a field that is missing or was found wrong (and reported).
class TableReader {
 public:
  TableReader(toml::table& table, std::string path, Report& report)
      : table_(table), path_(std::move(path)), report_(report), origin_(begin_of(table)) {
    origin_.expect(2 * table.size());  // of arrays, the elements, too
    known_.reserve(kMostKeys);
  }

  const Origin& origin() const { return origin_; }
  Origin take_origin() { return std::move(origin_); }  // when all fields have been asked for

  void error(std::string_view key, std::string what) { report_.error(origin_.of(key), field(key), std::move(what)); }

  std::optional<bool> boolean(std::string_view key) {
    toml::node* node = take(key);
    if (node == nullptr) return std::nullopt;
    if (const auto value = node->value_exact<bool>()) return *value;
    error(key, "is " + type_of(*node) + "; allowed: true or false, without quotes");
    return std::nullopt;
  }

  template <class Integer>
  std::optional<Integer> integer(std::string_view key, int64_t lowest, int64_t highest) {
    toml::node* node = take(key);
    if (node == nullptr) return std::nullopt;
    return checked_integer<Integer>(key, *node, lowest, highest, "");
  }

  // "off" and 0 are the same.
  template <class Integer>
  std::optional<Integer> integer_or_off(std::string_view key, int64_t highest) {
    toml::node* node = take(key);
    if (node == nullptr) return std::nullopt;
    if (node->value_exact<std::string_view>() == "off") return Integer{0};
    return checked_integer<Integer>(key, *node, 0, highest, " or \"off\"");
  }

  // A number, or one of the words that stand for a number or for none.
  template <class Integer, size_t N>
  std::optional<std::optional<Integer>> integer_or(const std::array<Word<std::optional<Integer>>, N>& words,
                                                   std::string_view key, int64_t lowest, int64_t highest) {
    toml::node* node = take(key);
    if (node == nullptr) return std::nullopt;
    std::string alternatives;
    for (const auto& word : words) {
      if (node->value_exact<std::string_view>() == word.text) return word.value;
      alternatives += " or " + in_quotes(word.text);
    }
    const auto number = checked_integer<Integer>(key, *node, lowest, highest, alternatives);
    if (!number) return std::nullopt;
    return std::optional<Integer>(*number);
  }

  template <class Integer>
  std::vector<Integer> integers(std::string_view key, int64_t lowest, int64_t highest) {
    std::vector<Integer> result;
    for (toml::node* node : elements(key)) {
      const auto value = checked_integer<Integer>(key, *node, lowest, highest, "");
      if (value) append(result, key, *node, *value);
    }
    return result;
  }

  // A string, made into a value by one of values.h's parsers.
  template <class T>
  std::optional<T> parsed(std::string_view key, Result<T> (*parse_value)(std::string_view)) {
    toml::node* node = take(key);
    if (node == nullptr) return std::nullopt;
    return parsed_string(key, *node, parse_value);
  }

  template <class T>
  std::optional<T> required(std::string_view key, Result<T> (*parse_value)(std::string_view)) {
    auto value = parsed(key, parse_value);
    if (!origin_.has(key)) report_.error(origin_.table(), field(key), "is missing");
    return value;
  }

  template <class T>
  std::vector<T> parsed_list(std::string_view key, Result<T> (*parse_value)(std::string_view)) {
    std::vector<T> result;
    for (toml::node* node : elements(key)) {
      auto value = parsed_string(key, *node, parse_value);
      if (value) append(result, key, *node, std::move(*value));
    }
    return result;
  }

  template <class Enum>
  std::optional<Enum> word(std::string_view key, std::span<const Word<Enum>> words) {
    toml::node* node = take(key);
    if (node == nullptr) return std::nullopt;
    const auto text = node->value_exact<std::string_view>();
    std::string allowed;
    for (const Word<Enum>& known : words) {
      if (text == known.text) return known.value;
      allowed += (allowed.empty() ? "" : " or ") + in_quotes(known.text);
    }
    error(key, (text ? excerpt(*text) + " is not known" : "is " + type_of(*node)) + "; allowed: " + allowed);
    return std::nullopt;
  }

  // A secret key, in the file or in a file of its own; `file` is set for the latter.
  struct Key {
    Secret<32> secret;
    std::string file;
  };
  std::optional<Key> key(std::string_view key, std::string_view file_key, const std::filesystem::path& directory) {
    toml::node* inline_node = take(key);
    toml::node* file_node = take(file_key);
    if (inline_node != nullptr && file_node != nullptr) {
      error(file_key, "stands beside " + std::string(key) + "; give one of them");
      return std::nullopt;
    }
    if (inline_node != nullptr) return inline_key(key, *inline_node);
    if (file_node != nullptr) return file_key_at(file_key, *file_node, directory);
    return std::nullopt;
  }

  // How many [[key]] blocks there are; whether they are sound is seen when they are read.
  size_t count(std::string_view key) const {
    const toml::array* blocks = table_.get_as<toml::array>(key);
    return blocks == nullptr ? 0 : blocks->size();
  }

  // [[key]] blocks; read(TableReader&) for each. Of a block nothing is left afterwards: there may be 100,000, and they
  // are freed for less while they are in the cache.
  template <class Read>
  void tables(std::string_view key, Read read) {
    toml::node* node = take(key);
    if (node == nullptr) return;
    toml::array* blocks = node->as_array();
    if (blocks == nullptr) {
      error(key, "is " + type_of(*node) + "; write [[" + field(key) + "]], one block for each");
      return;
    }
    for (toml::node& block : *blocks) {
      if (block.is_table()) {
        TableReader reader(*block.as_table(), field(key), report_);
        read(reader);
        reader.finish();
        block.as_table()->clear();
      } else {
        report_.error(begin_of(block), field(key),
                      "is " + type_of(block) + "; write [[" + field(key) + "]], one block for each");
      }
    }
  }

  template <class Read>
  void table(std::string_view key, Read read) {
    toml::node* node = take(key);
    if (node == nullptr) return;
    if (!node->is_table()) {
      error(key, "is " + type_of(*node) + "; write [" + field(key) + "], once");
      return;
    }
    TableReader reader(*node->as_table(), field(key), report_);
    read(reader);
    reader.finish();
  }

  void finish() {
    for (auto&& [key, node] : table_) {
      if (std::ranges::find(known_, key.str()) != known_.end()) continue;
      const std::string_view meant = nearest(key.str(), known_);
      std::string hint = meant.empty() ? "known here: " + joined(known_) : "did you mean `" + std::string(meant) + "`?";
      report_.error({key.source().begin.line, key.source().begin.column}, unknown_field(key.str()),
                    "unknown key; " + hint);
    }
  }

 private:
  std::string field(std::string_view key) const {
    return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
  }

  // A key that is not one of ours may hold anything.
  std::string unknown_field(std::string_view key) const {
    const std::string text = excerpt(key);
    const bool plain = text.size() == key.size() + 2 && key.find_first_of(" .") == std::string_view::npos;
    return field(plain ? key : text);
  }

  static std::string joined(std::span<const std::string_view> keys) {
    std::string text;
    for (const std::string_view key : keys) text += (text.empty() ? "" : ", ") + std::string(key);
    return text;
  }

  toml::node* take(std::string_view key) {
    known_.push_back(key);
    toml::node* node = table_.get(key);
    if (node != nullptr) origin_.note(key, begin_of(*node));
    return node;
  }

  std::vector<toml::node*> elements(std::string_view key) {
    std::vector<toml::node*> result;
    toml::node* node = take(key);
    if (node == nullptr) return result;
    if (!node->is_array()) {
      error(key, "is " + type_of(*node) + "; write a list in [ ]");
      return result;
    }
    for (toml::node& element : *node->as_array()) result.push_back(&element);
    return result;
  }

  // The place of an element is kept under its index in the model, where those that were wrong are left out.
  template <class T>
  void append(std::vector<T>& list, std::string_view key, const toml::node& node, T value) {
    origin_.note(key, begin_of(node), static_cast<uint32_t>(list.size()));
    list.push_back(std::move(value));
  }

  template <class Integer>
  std::optional<Integer> checked_integer(std::string_view key, const toml::node& node, int64_t lowest, int64_t highest,
                                         std::string_view alternative) {
    const auto value = node.value_exact<int64_t>();
    if (value && *value >= lowest && *value <= highest) return static_cast<Integer>(*value);
    std::string what = value ? std::to_string(*value) + " is out of range" : "is " + type_of(node);
    if (const auto text = node.value_exact<std::string_view>()) what = excerpt(*text) + " is a string";
    report_.error(begin_of(node), field(key),
                  what + "; allowed: " + range_text(lowest, highest) + std::string(alternative));
    return std::nullopt;
  }

  template <class T>
  std::optional<T> parsed_string(std::string_view key, const toml::node& node,
                                 Result<T> (*parse_value)(std::string_view)) {
    const auto text = node.value_exact<std::string_view>();
    if (!text) {
      report_.error(begin_of(node), field(key), "is " + type_of(node) + "; allowed: a string in quotes");
      return std::nullopt;
    }
    auto value = parse_value(*text);
    if (value) return std::move(*value);
    report_.error(begin_of(node), field(key), value.error().what);
    return std::nullopt;
  }

  std::optional<Key> inline_key(std::string_view key, toml::node& node) {
    toml::value<std::string>* text = node.as_string();
    if (text == nullptr) {
      error(key, "is " + type_of(node) + "; allowed: a string in quotes");
      return std::nullopt;
    }
    auto secret = parse_secret_key(text->get());
    wipe(std::as_writable_bytes(std::span(text->get())));
    if (secret) return Key{std::move(*secret), {}};
    error(key, secret.error().what);
    return std::nullopt;
  }

  std::optional<Key> file_key_at(std::string_view key, const toml::node& node, const std::filesystem::path& directory) {
    const auto name = node.value_exact<std::string>();
    if (!name || name->empty() || in_quotes(*name).size() != name->size() + 2) {
      error(key, "is not the name of a file");
      return std::nullopt;
    }
    const std::string path = (directory / *name).string();
    auto secret = read_key_file(path);
    if (secret) return Key{std::move(*secret), *name};
    const std::string maker = key.starts_with("preshared") ? "genpsk" : "genkey";
    const bool missing = secret.error().code == ENOENT;
    error(key, secret.error().what + (missing ? "; `umask 077; sluice " + maker + " > " + path + "` makes one" : ""));
    return std::nullopt;
  }

  static constexpr size_t kMostKeys = 16;  // of any table

  toml::table& table_;
  std::string path_;  // of the table: "tunnel.peer"
  Report& report_;
  Origin origin_;
  std::vector<std::string_view> known_;
};

template <class T>
void assign(T& field, std::optional<T> value) {
  if (value) field = std::move(*value);
}

Gateway read_gateway(TableReader& in) {
  Gateway gateway;
  assign(gateway.name, in.parsed("name", parse_gateway_name));
  gateway.workers = in.integers<unsigned>("workers", 0, 4095);
  assign(gateway.idle, in.word<Idle>("idle", kIdleWords));
  assign(gateway.spread, in.boolean("spread"));
  assign(gateway.engine, in.parsed("engine", parse_engine_name));
  assign(gateway.hugepages, in.word<Hugepages>("hugepages", kHugepagesWords));
  assign(gateway.memory, in.integer<uint32_t>("memory", 64, 1 << 20));
  assign(gateway.run_directory, in.parsed("run-directory", parse_absolute_path));
  gateway.origin = in.take_origin();
  return gateway;
}

Port read_port(TableReader& in) {
  Port port;
  assign(port.name, in.required("name", parse_interface_name));
  assign(port.device, in.parsed("device", parse_device));
  assign(port.parent, in.parsed("parent", parse_interface_name));
  port.members = in.parsed_list("members", parse_device);
  assign(port.bond, in.word<BondMode>("bond", kBondWords));
  assign(port.devargs, in.parsed("devargs", parse_devargs));
  port.addresses = in.parsed_list("addresses", parse_own_address);
  assign(port.mtu, in.integer<uint16_t>("mtu", kMinMtu, kMaxPortMtu));
  assign(port.queues, in.integer<uint16_t>("queues", 1, 64));
  assign(port.steering, in.word<Steering>("steering", kSteeringWords));
  assign(port.reverse_path_filter, in.word<ReversePathFilter>("reverse-path-filter", kReversePathWords));
  port.vlan = in.integer<uint16_t>("vlan", 1, 4094);
  port.origin = in.take_origin();
  return port;
}

Route read_route(TableReader& in) {
  Route route;
  assign(route.to, in.required("to", parse_destination));
  route.via = in.parsed("via", parse_gateway_address);
  assign(route.dev, in.parsed("dev", parse_interface_name));
  route.origin = in.take_origin();
  return route;
}

Peer read_peer(TableReader& in, const std::filesystem::path& directory) {
  Peer peer;
  assign(peer.name, in.parsed("name", parse_peer_name));
  assign(peer.public_key, in.required("public-key", parse_public_key));
  if (auto key = in.key("preshared-key", "preshared-key-file", directory)) {
    peer.preshared_key = std::move(key->secret);
    peer.preshared_key_file = std::move(key->file);
  }
  peer.endpoint = in.parsed("endpoint", parse_host_port);
  peer.allowed_ips = in.parsed_list("allowed-ips", parse_allowed_ip);
  assign(peer.persistent_keepalive, in.integer_or_off<uint16_t>("persistent-keepalive", 65535));
  peer.origin = in.take_origin();
  return peer;
}

void read_private_key(TableReader& in, const std::filesystem::path& directory, Tunnel& tunnel) {
  auto key = in.key("private-key", "private-key-file", directory);
  const bool given = in.origin().has("private-key") || in.origin().has("private-key-file");
  if (!given) in.error("private-key-file", "is missing; make a key with `sluice genkey`, or give private-key");
  if (!key) return;
  if (key->secret.is_zero()) {
    in.error(key->file.empty() ? "private-key" : "private-key-file", "the all-zero key is no private key");
    return;
  }
  tunnel.private_key = std::move(key->secret);
  clamp(tunnel.private_key);
  tunnel.private_key_file = std::move(key->file);
}

Tunnel read_tunnel(TableReader& in, const std::filesystem::path& directory) {
  Tunnel tunnel;
  assign(tunnel.name, in.required("name", parse_interface_name));
  read_private_key(in, directory, tunnel);
  assign(tunnel.listen_port, in.integer<uint16_t>("listen-port", 0, 65535));
  tunnel.addresses = in.parsed_list("addresses", parse_own_address);
  assign(tunnel.mtu, in.integer_or(kMtuWords, "mtu", kMinMtu, kMaxTunnelMtu));
  assign(tunnel.mss_clamp, in.boolean("mss-clamp"));
  assign(tunnel.path_mtu_probe, in.boolean("path-mtu-probe"));
  assign(tunnel.shared_allowed_ips, in.boolean("shared-allowed-ips"));
  assign(tunnel.dscp, in.integer_or(kDscpWords, "dscp", 0, 63));
  assign(tunnel.routes, in.word<RouteInstall>("routes", kRoutesWords));
  assign(tunnel.fwmark, in.integer_or_off<uint32_t>("fwmark", 0xffffffff));
  tunnel.peers.reserve(in.count("peer"));
  in.tables("peer", [&](TableReader& peer) { tunnel.peers.push_back(read_peer(peer, directory)); });
  tunnel.origin = in.take_origin();
  return tunnel;
}

void read_file(toml::table& root, const std::filesystem::path& directory, Model& model, Report& report) {
  TableReader in(root, "", report);
  in.table("gateway", [&](TableReader& gateway) { model.gateway = read_gateway(gateway); });
  in.tables("port", [&](TableReader& port) { model.ports.push_back(read_port(port)); });
  in.tables("route", [&](TableReader& route) { model.routes.push_back(read_route(route)); });
  in.tables("tunnel", [&](TableReader& tunnel) { model.tunnels.push_back(read_tunnel(tunnel, directory)); });
  in.finish();
}

}  // namespace

Model parse(std::string_view text, const std::string& path, Report& report) {
  Model model;
  model.file = path;
  try {
    toml::table root = toml::parse(text);
    read_file(root, std::filesystem::path(path).parent_path(), model, report);
  } catch (const toml::parse_error& error) {  // the library stops at the first error of TOML's own grammar
    const toml::source_position at = error.source().begin;
    report.error({at.line, at.column}, "", std::string(error.description()));
  }
  return model;
}

}  // namespace sluice::config
