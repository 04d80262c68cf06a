// The only file that speaks rtnetlink (over libmnl). One socket listens: it dumps what there is into a NetworkModel and
// follows the notifications, in one queue and so in one order. Another carries requests. Control thread only; nothing
// here waits for anything but the kernel's answer to a request, which is there when the request returns.
// Policy rules and tables other than main and local are not looked at.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

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
  // Opens both sockets in the caller's network namespace; the first receive() asks for the first dump: call it once
  // before waiting for fd().
  static Result<std::unique_ptr<Netlink>> open();
  ~Netlink();

  // Listening. Level-triggered in epoll: when fd() is readable, call receive(), which takes a bounded number of
  // messages and never blocks. After it, hand model.take_changes() to the FibBuilder, at most every 10 ms or so: that
  // is what makes a routing daemon's thousand routes a few tables.
  int fd() const;
  Result<void> receive(NetworkModel& model);
  // False while a dump is under way, for the first time or again after an overrun: the model stays as it was.
  bool is_settled() const;
  uint64_t resyncs() const;  // dumps made because notifications were lost or Linux does not send them

  // Requests. Errors are one line: "address 10.1.0.1/16 on wan: File exists".
  struct LinkSettings {
    std::optional<Mac> mac;
    std::optional<uint32_t> mtu;
    std::optional<bool> up;
    std::optional<uint32_t> transmit_queue;  // packets
    std::optional<std::string> name;
  };
  Result<void> set_link(const LinkName& link, const LinkSettings& settings);
  Result<void> add_address(const LinkName& link, const InterfaceAddress& address);     // already there: fine
  Result<void> delete_address(const LinkName& link, const InterfaceAddress& address);  // not there: fine
  Result<void> replace_route(const RouteRequest& route);
  Result<void> delete_route(const RouteRequest& route);  // not there: fine

  // Asks Linux to resolve or confirm a neighbour (ARP, ND); the answer comes as a change of the model. Costs Linux one
  // request per second, at most three, however often it is asked.
  Result<void> probe_neighbour(const NeighbourKey& key);
  // As probe_neighbour, and from then on Linux keeps the entry fresh by itself (NTF_EXT_MANAGED, Linux >= 5.16) until
  // release_neighbour(). On older kernels it probes once; the caller probes again when the entry goes stale.
  Result<void> manage_neighbour(const NeighbourKey& key);
  Result<void> release_neighbour(const NeighbourKey& key);

 private:
  using Socket = Handle<mnl_socket, mnl_socket_close>;
  Netlink(Socket listener, Socket requests);
  Result<void> start_dump(NetworkModel& model);
  Result<void> request(nlmsghdr& message, const std::string& what);

  Socket listener_, requests_;
  enum class Phase : uint8_t { kStart, kLinks, kAddresses, kNeighbours, kRoutes, kSettled } phase_ = Phase::kStart;
};

// Parses one message of RTM_{NEW,DEL}{LINK,ADDR,ROUTE,NEIGH} into the model; ignores every other. For receive() and the
// fuzz target: `message` is complete (mnl_nlmsg_ok), its contents are not trusted.
void apply_message(const nlmsghdr& message, NetworkModel& model);

}  // namespace sluice
