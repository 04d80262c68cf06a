// The outer side of a tunnel on a plain host: the kernel's UDP sockets, IPv4 and IPv6 on one port number. Yields and
// takes datagrams in the form of IP packets (Port::Carries::kDatagrams): on receive an IP and a UDP header, made from
// what the kernel says of the datagram, stand in front of the payload; on transmit they say where to, from which of our
// addresses (zero: Linux chooses) and with which TOS; their lengths, numbers and checksums are the kernel's business.
// Runs of equal headers and sizes leave as one datagram that the kernel or the NIC cuts (UDP_SEGMENT), and arrive as
// one (UDP_GRO).
//
// An IPv6 link-local address carries its interface's index in its bytes 2 and 3, which are zero on the wire (the scope
// embedded in the address, as BSD kernels have it): extract_scope() in wire/ip.h.
#pragma once

#include <memory>
#include <string>

#include "dataplane/base/result.h"
#include "dataplane/port/buffers.h"
#include "dataplane/port/port.h"

namespace sluice {

class UdpSocketPort : public Port {
 public:
  // Control thread, at any time. Each takes effect with the next system call of the worker; what the old sockets had
  // received is lost with them.
  //
  // Binds both families to `port`, in place of what was bound. A host without IPv6 has only IPv4. Error (EADDRINUSE,
  // ...): nothing has changed.
  virtual Result<void> open(uint16_t port) = 0;
  virtual void close() = 0;  // bound to nothing: yields nothing, loses what it is given
  virtual bool has(Family family) const noexcept = 0;
  virtual void set_mark(uint32_t mark) = 0;  // SO_MARK; 0: none. Counts for sockets opened later, too

 protected:
  using Port::Port;
};

// Closed. A socket of each family and a transmit queue for each of `workers`: Linux spreads what arrives over the
// sockets by addresses and ports (SO_REUSEPORT), so that a peer's datagrams come by one of them while it stays where it
// is; asked to steer(), its data messages by their receiver index. Receive queues are those of IPv4 first, then those
// of IPv6.
Result<std::unique_ptr<UdpSocketPort>> make_udp_socket_port(PortId id, const std::string& name, uint16_t workers,
                                                            const Buffers& buffers);

// Whether open(port) would find the port free.
Result<void> probe_udp_port(uint16_t port);

}  // namespace sluice
