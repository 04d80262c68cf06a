// The WireGuard configuration protocol (uapi.h) as a conversation on a Unix socket.
#pragma once

#include <string>
#include <string_view>

#include "control/api/uapi.h"
#include "control/loop/unix_server.h"

namespace sluice {

inline constexpr const char* kUapiDirectory = "/var/run/wireguard/";

class UapiConversation final : public Conversation {
 public:
  explicit UapiConversation(Tunnel& tunnel) : session_(tunnel) {}
  bool feed(std::string_view bytes, std::string& output) override { return session_.feed(bytes, output); }

 private:
  UapiSession session_;
};

}  // namespace sluice
