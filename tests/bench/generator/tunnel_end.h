// The far end of the gateway's tunnel: a WireGuard peer at the other side of its port wan.
#pragma once

#include <cstdint>

#include "dataplane/port/port.h"
#include "tests/bench/initiator.h"

struct rte_mempool;

namespace sluice::bench {

class TunnelEnd {
 public:
  // Of frames on the wan: where the message starts.
  static constexpr size_t kMessageInFrame = 42;

  TunnelEnd(Port& wan, rte_mempool* pool, Initiator& initiator);

  // A session that lasts for another minute: a handshake if there is none or an old one. Throws std::runtime_error if
  // nobody answers.
  void keep_session();
  // Tells the gateway that its packets arrive, as a peer does.
  void send_keepalive();

  const SessionKeys& keys() const noexcept { return initiator_.keys(); }
  uint64_t next_counter() noexcept { return counter_++; }

 private:
  bool handshake();  // one attempt
  void transmit(ConstBytes message);

  Port& wan_;
  rte_mempool* pool_;
  Initiator& initiator_;
  MonoTime since_{};
  bool connected_ = false;
  uint64_t counter_ = 0;
};

// Ethernet, IPv4 and UDP headers of a frame from the far end to the gateway, around a message that stands behind them.
void write_outer_headers(Bytes frame);

}  // namespace sluice::bench
