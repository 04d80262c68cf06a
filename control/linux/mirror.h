// A mirror: the interface by which Linux sees a port (a TAP with the port's name and MAC) or a tunnel (a TUN with its
// name). What the data plane punts is written to it and Linux receives it; what Linux sends there is read from it.
// Linux never sees forwarded packets, only those for the gateway itself, so its own forwarding between mirrors has
// nothing to do and net.ipv4.ip_forward may be on or off. Control thread only. The interface goes with its descriptor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "control/linux/netlink.h"
#include "dataplane/base/net.h"
#include "dataplane/base/result.h"
#include "dataplane/wire/messages.h"

namespace sluice {

class Mirror {
 public:
  // Created down, with MAC and MTU set; bring it up with Netlink::set_link() after its addresses. Errors are one line
  // and say how to mend it: no /dev/net/tun, no CAP_NET_ADMIN, name taken, name too long.
  static Result<Mirror> create_port(Netlink& netlink, const std::string& name, const Mac& mac, uint32_t mtu);
  static Result<Mirror> create_tunnel(Netlink& netlink, const std::string& name, uint32_t mtu);
  Mirror(Mirror&&) noexcept;
  Mirror& operator=(Mirror&&) noexcept;
  ~Mirror();

  int fd() const { return fd_; }  // non-blocking; readable: Linux sent something
  int index() const { return link_.index; }
  const LinkName& link() const { return link_; }
  const Mac& mac() const { return mac_; }  // the port's; a tunnel has none

  // What Linux is told of the cable: without a carrier routing daemons look for another way.
  Result<void> set_carrier(bool on);

  // One Ethernet frame (port) or IP packet (tunnel) into `buffer`: its size. nullopt: nothing there, or the interface
  // is down. Checksums are complete and nothing is larger than the MTU: the mirror offers Linux no offloads.
  std::optional<size_t> read(Bytes buffer) noexcept;
  // False: Linux did not take it (interface down, no memory): drop mirror_write.
  bool write(ConstBytes packet) noexcept;

 private:
  static Result<Mirror> create(Netlink& netlink, const std::string& name, short kind,
                               const Netlink::LinkSettings& settings);
  Mirror(int fd, LinkName link, const Mac& mac) : fd_(fd), link_(std::move(link)), mac_(mac) {}
  int fd_ = -1;
  LinkName link_;
  Mac mac_;
};

}  // namespace sluice
