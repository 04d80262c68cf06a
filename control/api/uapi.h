// One client's conversation in the WireGuard configuration protocol (protocol.md and uapi.md name it; wg, wgctrl and
// wg-quick speak it): bytes in, bytes out, no socket. Lines take effect as they are read, without rollback, as every
// implementation does it; an operation after a failed one is still answered. Control thread only.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "dataplane/base/keys.h"

namespace sluice {

class Tunnel;
struct PeerControl;

class UapiSession {
 public:
  static constexpr size_t kMaxLine = 4096;  // no legal line comes near it

  explicit UapiSession(Tunnel& tunnel) : tunnel_(tunnel) {}

  // Handles what is complete in `bytes` and what came before; appends the replies to `output`. False: close the
  // connection after writing the output (first line is no operation, a line too long, get=1 not followed by an empty
  // line).
  [[nodiscard]] bool feed(std::string_view bytes, std::string& output);

 private:
  enum class State { kIdle, kGet, kSetDevice, kSetPeer, kFailed };

  bool line(std::string_view text, std::string& output);
  bool begin(std::string_view text, std::string& output);
  int set(std::string_view key, std::string_view value);
  int set_device(std::string_view key, std::string_view value);
  int select_peer(std::string_view value);
  PeerControl* peer();
  int set_peer(std::string_view key, std::string_view value);
  int set_allowed_ip(std::string_view value);
  void finish_peer();
  void end_operation(int error, std::string& output);

  Tunnel& tunnel_;
  std::string pending_;  // an incomplete line
  State state_ = State::kIdle;
  int error_ = 0;
  // The peer that lines are about; none in kSetPeer: a dummy, everything is accepted and ignored. Kept by its key and
  // looked up for each line: between two of them another client may remove it.
  std::optional<PublicKey> selected_;
  bool created_ = false;  // it did not exist before this block
};

std::string uapi_dump(const Tunnel& tunnel);  // the reply to get=1 without its errno line

}  // namespace sluice
