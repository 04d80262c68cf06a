#include "control/api/uapi.h"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <iterator>
#include <optional>
#include <span>
#include <utility>

#include "control/wg/tunnel.h"

namespace sluice {
namespace {

template <class Integer>
std::optional<Integer> number(std::string_view text) {
  Integer value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<Secret<32>> secret_key(std::string_view hex) {
  Secret<32> key;
  if (!key_from_hex(hex, key.bytes())) return std::nullopt;
  return key;
}

void dump_peer(const Tunnel& tunnel, const PeerControl& peer, std::string& text) {
  const auto out = std::back_inserter(text);
  fmt::format_to(out, "public_key={}\npreshared_key={}\nprotocol_version=1\n", to_hex(peer.public_key.bytes),
                 to_hex(peer.preshared_key.bytes()));
  if (!peer.at.remote.is_none()) fmt::format_to(out, "endpoint={}\n", to_string(peer.at.remote));
  fmt::format_to(out, "last_handshake_time_sec={}\nlast_handshake_time_nsec={}\n", peer.last_handshake().seconds,
                 peer.last_handshake().nanoseconds);
  fmt::format_to(out, "tx_bytes={}\nrx_bytes={}\npersistent_keepalive_interval={}\n", peer.tx_bytes(), peer.rx_bytes(),
                 peer.persistent_keepalive);
  for (const Prefix& prefix : tunnel.allowed_ips(peer)) fmt::format_to(out, "allowed_ip={}\n", to_string(prefix));
}

}  // namespace

std::string uapi_dump(const Tunnel& tunnel) {
  std::string text;
  const auto out = std::back_inserter(text);
  if (tunnel.identity()) fmt::format_to(out, "private_key={}\n", to_hex(tunnel.identity()->private_key.bytes()));
  if (tunnel.listen_port() != 0) fmt::format_to(out, "listen_port={}\n", tunnel.listen_port());
  if (tunnel.fwmark() != 0) fmt::format_to(out, "fwmark={}\n", tunnel.fwmark());
  for (const PeerControl& peer : tunnel.peers()) dump_peer(tunnel, peer, text);
  return text;
}

bool UapiSession::feed(std::string_view bytes, std::string& output) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    if (end == std::string_view::npos) {
      pending_ += bytes;
      return pending_.size() <= kMaxLine;
    }
    if (pending_.size() + end > kMaxLine) return false;
    bool open;
    if (pending_.empty()) {
      open = line(bytes.substr(0, end), output);
    } else {
      pending_ += bytes.substr(0, end);
      open = line(pending_, output);
      wipe(std::as_writable_bytes(std::span(pending_)));  // it may have held a key
      pending_.clear();
    }
    if (!open) return false;
    bytes.remove_prefix(end + 1);
  }
  return true;
}

bool UapiSession::line(std::string_view text, std::string& output) {
  if (state_ == State::kIdle) return begin(text, output);
  if (state_ == State::kGet) {
    if (text.empty()) output += uapi_dump(tunnel_);
    end_operation(text.empty() ? 0 : EINVAL, output);
    return text.empty();
  }
  if (text.empty()) {
    finish_peer();
    end_operation(error_, output);
    return true;
  }
  if (state_ == State::kFailed) return true;  // the rest of a failed set is read and ignored
  const size_t equals = text.find('=');
  error_ = equals == std::string_view::npos ? EPROTO : set(text.substr(0, equals), text.substr(equals + 1));
  if (error_ != 0) {
    finish_peer();
    state_ = State::kFailed;
  }
  return true;
}

bool UapiSession::begin(std::string_view text, std::string&) {
  if (text == "get=1")
    state_ = State::kGet;
  else if (text == "set=1")
    state_ = State::kSetDevice;
  return state_ != State::kIdle;
}

void UapiSession::end_operation(int error, std::string& output) {
  output += fmt::format("errno={}\n\n", -error);
  state_ = State::kIdle;
  error_ = 0;
}

int UapiSession::set(std::string_view key, std::string_view value) {
  if (key == "public_key") return select_peer(value);
  return state_ == State::kSetDevice ? set_device(key, value) : set_peer(key, value);
}

int UapiSession::set_device(std::string_view key, std::string_view value) {
  if (key == "private_key") {
    auto secret = secret_key(value);
    if (!secret) return EINVAL;
    tunnel_.set_private_key(std::move(*secret));
    return 0;
  }
  if (key == "listen_port") {
    const auto port = number<uint16_t>(value);
    if (!port) return EINVAL;
    return tunnel_.set_listen_port(*port) ? 0 : EADDRINUSE;
  }
  if (key == "fwmark") {
    const auto mark = number<uint32_t>(value);
    if (!mark) return EINVAL;
    tunnel_.set_fwmark(*mark);
    return 0;
  }
  if (key == "replace_peers") {
    if (value != "true") return EINVAL;
    tunnel_.remove_all_peers();
    return 0;
  }
  return EINVAL;
}

int UapiSession::select_peer(std::string_view value) {
  PublicKey key;
  if (!key_from_hex(value, key.bytes)) return EINVAL;
  finish_peer();
  state_ = State::kSetPeer;
  if (tunnel_.identity() && tunnel_.identity()->public_key == key) return 0;  // our own: a dummy
  created_ = !tunnel_.find(key);
  if (created_ && !tunnel_.add_peer(key)) return ENOMEM;
  selected_ = key;
  return 0;
}

PeerControl* UapiSession::peer() { return selected_ ? tunnel_.find(*selected_) : nullptr; }

int UapiSession::set_peer(std::string_view key, std::string_view value) {
  if (key == "update_only" || key == "remove") {
    if (value != "true") return EINVAL;
    if (selected_ && (key == "remove" || created_)) tunnel_.remove_peer(*std::exchange(selected_, std::nullopt));
    return 0;
  }
  PeerControl* const peer = this->peer();
  if (key == "preshared_key") {
    auto secret = secret_key(value);
    if (!secret) return EINVAL;
    if (peer) tunnel_.set_preshared_key(*peer, std::move(*secret));
    return 0;
  }
  if (key == "endpoint") {
    const auto endpoint = parse_endpoint(value);
    if (!endpoint) return EINVAL;
    if (peer) tunnel_.set_endpoint(*peer, *endpoint);
    return 0;
  }
  if (key == "persistent_keepalive_interval") {
    const auto seconds = number<uint16_t>(value);
    if (!seconds) return EINVAL;
    if (peer) tunnel_.set_persistent_keepalive(*peer, *seconds);
    return 0;
  }
  if (key == "replace_allowed_ips") {
    if (value != "true") return EINVAL;
    if (peer) tunnel_.replace_allowed_ips(*peer);
    return 0;
  }
  if (key == "allowed_ip") return set_allowed_ip(value);
  if (key == "protocol_version") return value == "1" ? 0 : EINVAL;
  return EINVAL;
}

int UapiSession::set_allowed_ip(std::string_view value) {
  const bool remove = value.starts_with('-');
  const auto prefix = parse_prefix(remove ? value.substr(1) : value);
  if (!prefix) return EINVAL;
  PeerControl* const peer = this->peer();
  if (peer) remove ? tunnel_.remove_allowed_ip(*peer, *prefix) : tunnel_.add_allowed_ip(*peer, *prefix);
  return 0;
}

// The block of a peer ends with the next public_key, with the operation, and with an error.
void UapiSession::finish_peer() {
  if (PeerControl* const peer = this->peer()) tunnel_.apply_peer(*peer);
  selected_.reset();
  created_ = false;
}

}  // namespace sluice
