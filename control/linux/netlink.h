// The only file that speaks rtnetlink (over libmnl). One socket listens: it dumps what there is into a NetworkModel and
// follows the notifications, in one queue and so in one order. Another carries requests. Control thread only; nothing
// here waits for anything but the kernel's answer to a request, which is there when the request returns.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>

#include "control/linux/network_model.h"
#include "dataplane/base/handle.h"
#include "dataplane/base/net.h"
#include "dataplane/base/result.h"

struct mnl_socket;
struct nlmsghdr;
extern "C" int mnl_socket_close(mnl_socket*);

namespace sluice {

struct LinkName {  // an interface as requests need it (index) and as errors name it
  int index = 0;
  std::string name;
};

// A route to be set or deleted in table main.
struct RouteRequest {
  Prefix to;
  IpAddress via;                 // none: on link
  std::optional<LinkName> link;  // none: Linux finds it by `via`
  uint32_t metric = 0;           // 0: Linux's default
};

class Netlink {
 public:
  // Opens both sockets in the caller's network namespace and asks for the first dump.
  static Result<std::unique_ptr<Netlink>> open();
  ~Netlink();

  // Listening. Level-triggered in epoll: when fd() is readable, call receive(), which takes a bounded number of
  // messages and never blocks. After it, hand model.take_changes() to the FibBuilder, at most every 10 ms or so: that
  // is what makes a routing daemon's thousand routes a few tables.
  int fd() const;
  Result<void> receive(NetworkModel& model);
  // False while a dump is under way, for the first time or again after an overrun: the model stays as it was.
  bool is_settled() const { return phase_ == Phase::kSettled; }
  uint64_t resyncs() const {
    return resyncs_;
  }  // dumps made because notifications were lost or Linux does not send them

  // Requests. Errors are one line: "address 10.1.0.1/16 on wan: File exists".
  struct LinkSettings {
    std::optional<Mac> mac;
    std::optional<uint32_t> mtu;
    std::optional<bool> up;
    std::optional<uint32_t> transmit_queue;  // packets
    std::optional<std::string> name;
    // IPv4: packets from the host's own addresses may arrive (ICMP errors that the gateway sends to its own sockets).
    bool accept_local = false;
  };
  Result<void> set_link(const LinkName& link, const LinkSettings& settings);
  Result<void> add_address(const LinkName& link, const InterfaceAddress& address);     // already there: fine
  Result<void> delete_address(const LinkName& link, const InterfaceAddress& address);  // not there: fine
  Result<void> replace_route(const RouteRequest& route);
  Result<void> delete_route(const RouteRequest& route);  // not there: fine

  // Asks Linux to resolve or confirm a neighbour (ARP, ND); the answer comes as a change of the model. Costs Linux one
  // request per second, at most three, however often it is asked. Linux does not see forwarded traffic, so it never
  // learns that an entry is in use: probe those of ports that turn kStale (once in about 30 s each), and one that has
  // gone away or changed its MAC is noticed.
  Result<void> probe_neighbour(const NeighbourKey& key);
  // As probe_neighbour, and from then on Linux keeps the entry fresh by itself (NTF_EXT_MANAGED, Linux >= 5.16) until
  // release_neighbour(). On older kernels it probes once; the caller probes again when the entry goes stale. Not for
  // entries in state kPermanent: Linux would make ordinary ones of them.
  Result<void> manage_neighbour(const NeighbourKey& key);
  Result<void> release_neighbour(const NeighbourKey& key);

 private:
  using Socket = Handle<mnl_socket, mnl_socket_close>;
  enum class Phase {
    kLinks,
    kAddresses,
    kNeighbours,
    kNextHops,
    kRoutes,
    kRules,
    kSettled
  };  // of a dump, in this order
  Netlink(Socket listener, Socket requests);
  Result<void> ask_for(Phase phase);
  Result<void> start_over(NetworkModel& model);
  Result<void> handle_datagram(std::span<const std::byte> datagram, NetworkModel& model);
  Result<void> finish_phase(NetworkModel& model);
  Result<void> request(nlmsghdr& message, const std::string& what);
  Result<void> change_address(uint16_t type, uint16_t flags, const LinkName& link, const InterfaceAddress& own);
  Result<void> change_route(uint16_t type, uint16_t flags, const RouteRequest& route);
  Result<void> use_neighbour(const NeighbourKey& key);

  Socket listener_, requests_;
  Phase phase_ = Phase::kLinks;
  bool first_ = true;  // receive() was not called yet
  bool lost_ = false;  // notifications, or part of a dump: start over once this dump ends
  uint64_t resyncs_ = 0;
  uint32_t dump_sequence_ = 0, request_sequence_ = 0;
  std::set<NeighbourKey> managed_;
  alignas(8) std::array<std::byte, 64 << 10> buffer_;  // a datagram of a dump has up to 32 KiB
};

// Parses one message of RTM_{NEW,DEL}{LINK,ADDR,ROUTE,NEIGH,NEXTHOP,RULE} into the model; ignores every other. For
// receive() and the fuzz target: `message` is complete (mnl_nlmsg_ok), its contents are not trusted.
void apply_message(const nlmsghdr& message, NetworkModel& model);

}  // namespace sluice
