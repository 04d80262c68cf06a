// Packets between the workers and Linux: what is for the gateway itself goes to mirrors and tunnel interfaces, what
// Linux sends there goes out through the workers, and sources are told by ICMP why their packets were not delivered.
// Control thread only.
#pragma once

#include <memory>

#include "control/gateway/linux_network.h"
#include "control/linux/icmp_error.h"
#include "control/linux/neighbour_keeper.h"
#include "control/wg/wireguard.h"
#include "dataplane/base/handle.h"
#include "dataplane/worker/dataplane.h"

struct rte_mbuf;

namespace sluice {

struct PacketMeta;

class SlowPath {
 public:
  struct Parts {  // everything here outlives it
    Dataplane& dataplane;
    Wireguard& wireguard;
    LinuxNetwork& network;
    EventLoop& loop;
    const Clock& clock;
    DropCounters& drops;
  };
  explicit SlowPath(Parts parts);
  ~SlowPath();

  void watch(PortId port, Mirror& mirror);  // reads what Linux sends on it from now on
  void watch(TunnelId tunnel, Mirror& mirror);

  bool drain_punts();  // bounded; true: there may be more at once
  void on_neighbours_changed(const ModelChanges& changes);
  void expire(MonoTime now);
  std::optional<MonoTime> next_deadline() const { return waiting_.next_deadline(); }

 private:
  struct FreeMbuf {
    void operator()(rte_mbuf* packet) const noexcept;
  };
  using Packet = std::unique_ptr<rte_mbuf, FreeMbuf>;

  void on_punt(Packet packet);
  void to_linux(Packet packet);
  void hold(Packet packet);
  void send_icmp_error(Packet offending, IcmpError error, uint16_t mtu);
  void route(Packet packet, const PacketMeta& about);
  void read_mirror(Mirror& mirror, Command command);
  void post(WorkerId worker, Command command, Packet packet);

  Dataplane& dataplane_;
  Wireguard& wireguard_;
  LinuxNetwork& network_;
  EventLoop& loop_;
  const Clock& clock_;
  DropCounters& drops_;
  NeighbourKeeper<Packet> waiting_;
  TokenBucket icmp_limit_ = make_icmp_limiter();
  std::vector<int> watched_;
};

}  // namespace sluice
