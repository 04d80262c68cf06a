// The gateway's network as Linux has it: mirrors of ports, interfaces of tunnels, and what netlink says of routes and
// neighbours, turned into forwarding tables and outer routes. Control thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "control/linux/fib_builder.h"
#include "control/linux/mirror.h"
#include "control/linux/netlink.h"
#include "control/linux/network_model.h"
#include "control/linux/outer_routes.h"
#include "control/loop/event_loop.h"
#include "control/wg/outer_routes.h"
#include "dataplane/base/random.h"
#include "dataplane/forward/flow_hash.h"
#include "dataplane/port/port.h"

namespace sluice {

class Descriptor {  // closes it
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

class LinuxNetwork final : public OuterRoutes {
 public:
  static Result<std::unique_ptr<LinuxNetwork>> create(EventLoop& loop, const Clock& clock, Rng& rng);
  ~LinuxNetwork() override;

  // Interfaces of ours. Created down; bring_up() after their addresses are set.
  Result<void> add_port(const Port& port);
  Result<void> add_tunnel(TunnelId id, const std::string& name, uint16_t mtu);
  Mirror* port_mirror(PortId id) noexcept;
  Mirror* tunnel_mirror(TunnelId id) noexcept;
  std::map<PortId, Mirror>& port_mirrors() noexcept { return ports_; }
  std::set<PortId> ports_with_ipv4() const;
  std::map<TunnelId, Mirror>& tunnel_mirrors() noexcept { return tunnels_; }

  Result<void> bring_up(const Mirror& mirror);
  Result<void> set_mtu(const Mirror& mirror, uint16_t mtu);
  Result<void> add_address(const Mirror& mirror, const InterfaceAddress& address);
  Result<void> delete_address(const Mirror& mirror, const InterfaceAddress& address);
  Result<void> replace_route(const Prefix& to, const IpAddress& via, const Mirror* dev);
  Result<void> delete_route(const Prefix& to, const IpAddress& via, const Mirror* dev);

  // Takes in what netlink has said, at most every few milliseconds. True: look at changes(), fib() may be new. `until`
  // becomes the time to call again if there are changes that wait.
  bool update(MonoTime now);
  MonoTime next_update() const noexcept { return waiting_since_.is_never() ? MonoTime{} : waiting_since_ + kBatch; }
  const ModelChanges& changes() const noexcept { return changes_; }
  bool fib_changed() const noexcept { return fib_changed_; }
  Fib fib() { return builder_.fib(); }
  FibGarbage take_fib_garbage() { return builder_.take_garbage(); }
  const NetworkModel& model() const noexcept { return model_; }

  // Blocks until the first dump is in, for at most `timeout`: at start, before workers run.
  Result<void> wait_until_settled(Nanoseconds timeout);

  OuterRoute resolve(const OuterQuery& query) override;
  uint32_t scope_of(PortId port) const noexcept override;
  Result<void> claim_port(TunnelId tunnel, uint16_t listen_port) override;
  OuterRoute look_up(const OuterQuery& query) const override;
  void ask_for(const NeighbourKey& neighbour);
  // The neighbour by way of which the workers would send an IP packet; nullopt: it leaves by none of our ports.
  std::optional<NeighbourKey> neighbour_towards(ConstBytes packet);
  // The gateway's own address for a packet back to `destination`; none: there is none.
  IpAddress source_towards(const IpAddress& destination) const;

 private:
  static constexpr Nanoseconds kBatch = std::chrono::milliseconds(5);

  LinuxNetwork(EventLoop& loop, const Clock& clock, Rng& rng, std::unique_ptr<Netlink> netlink);
  void receive();
  void keep_macs();
  void keep_neighbours_fresh();
  void warn_of_foreign_rules();

  EventLoop& loop_;
  const Clock& clock_;
  std::unique_ptr<Netlink> netlink_;
  NetworkModel model_;
  const FlowHash flows_;
  FibBuilder builder_;
  OwnInterfaces own_;
  std::map<PortId, Mirror> ports_;
  std::map<TunnelId, Mirror> tunnels_;
  std::map<TunnelId, std::vector<Descriptor>> claimed_;  // sockets bound to listen ports; nothing is read from them
  // Linux keeps these fresh, as it does not see who uses them: next hops of peers' endpoints, and of the table.
  std::set<NeighbourKey> outer_managed_, table_managed_;
  ModelChanges changes_;
  MonoTime waiting_since_;  // notifications arrived and were not taken up yet; never: none
  bool fib_changed_ = false;
};

}  // namespace sluice
