// A port is anything that yields and takes bursts of mbufs: DPDK ethdevs (ethdev.h), kernel sockets (udp_socket.h), a
// TUN (tun.h). One virtual call per burst, never per packet.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "dataplane/base/net.h"
#include "dataplane/base/strong.h"
#include "dataplane/port/steering.h"

struct rte_mbuf;

namespace sluice {

struct LivePortCounters;  // port/port_counters.h

struct PortCounters {
  uint64_t rx_packets = 0, rx_bytes = 0, rx_missed = 0, rx_errors = 0;
  uint64_t tx_packets = 0, tx_bytes = 0, tx_errors = 0;

  PortCounters& operator+=(const PortCounters& other) noexcept {
    rx_packets += other.rx_packets;
    rx_bytes += other.rx_bytes;
    rx_missed += other.rx_missed;
    rx_errors += other.rx_errors;
    tx_packets += other.tx_packets;
    tx_bytes += other.tx_bytes;
    tx_errors += other.tx_errors;
    return *this;
  }
};

// How a worker that has nothing to do may wait for a queue to have traffic.
struct Wakeup {
  enum class Kind : uint8_t {
    kNone,       // cannot say: the worker sleeps for short times and looks again
    kFd,         // `fd` becomes readable (level-triggered: traffic already there counts)
    kInterrupt,  // `fd` becomes readable after arm_interrupt(queue, true); disarm before polling again
  } kind = Kind::kNone;
  int fd = -1;
};

class Port {
 public:
  virtual ~Port() = default;
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  const std::string& name() const noexcept { return name_; }
  PortId id() const noexcept { return id_; }
  // The 802.1Q tag that its frames carry; 0: none. A frame on its way out is complete, tag and all; of one that arrives
  // the tag may be in the mbuf alone (RTE_MBUF_F_RX_VLAN_STRIPPED).
  uint16_t vlan() const noexcept { return vlan_; }
  // The port on whose cable this one is a VLAN: frames arrive and leave through that one. kNoPort: it has its own.
  PortId parent() const noexcept { return parent_; }

  // What its mbufs are, in both directions; from the first byte on.
  enum class Carries : uint8_t {
    kFrames,     // Ethernet frames
    kDatagrams,  // IP packets with UDP in them, to and from our listen port; the kernel has checked them
    kPackets,    // IP packets that enter or have left a tunnel
  };
  virtual Carries carries() const noexcept { return Carries::kFrames; }

  // Queues are numbered from 0; each is used by one worker only. Fewer receive queues than workers: the rest do not
  // poll. There is a transmit queue for every worker.
  virtual uint16_t receive_queues() const noexcept = 0;
  virtual uint16_t transmit_queues() const noexcept = 0;
  virtual uint16_t receive(uint16_t queue, rte_mbuf** packets, uint16_t n) noexcept = 0;
  // The next receive() has packets at hand that its descriptor says nothing of: they have left the kernel.
  virtual bool has_more(uint16_t /*queue*/) const noexcept { return false; }
  // Takes the first packets of the burst and says how many; the others remain the caller's.
  virtual uint16_t transmit(uint16_t queue, rte_mbuf** packets, uint16_t n) noexcept = 0;
  // It has packets of its own to send (LACP's), when it is asked to transmit, be it nothing: ten times a second at
  // least.
  virtual bool transmits_by_itself() const noexcept { return false; }

  // The queue's worker. May change while the port runs (a vhost peer comes and goes): ask before each sleep.
  virtual Wakeup wakeup(uint16_t queue) noexcept = 0;
  virtual void arm_interrupt(uint16_t queue, bool on) noexcept = 0;  // Kind::kInterrupt only

  // Control thread.
  virtual Mac mac() const noexcept = 0;
  virtual uint16_t mtu() const noexcept = 0;  // largest IP packet
  virtual bool link_up() const noexcept = 0;
  virtual PortCounters counters() const noexcept = 0;
  // From now on data messages to these UDP ports are to arrive as `queues` says; what the device does about it,
  // steering() tells. While packets move, and again whenever the listen ports change.
  virtual void steer(const QueueByIndex& /*queues*/, std::span<const uint16_t> /*listen_ports*/) {}
  virtual Steering steering() const { return {}; }
  // Where workers count what arrives for it, one after the other by worker; nullptr: its device counts.
  virtual LivePortCounters* arrivals() noexcept { return nullptr; }
  virtual std::string device() const = 0;
  // The machine wants the device back: it is being unplugged, or unbound from its driver, which waits for give_back().
  virtual bool is_leaving() const noexcept { return false; }
  // Once no worker uses the port any more (Dataplane::let_go). Its link is down from now on.
  virtual void give_back() noexcept {}
  // What the hardware does for us; read once at start by workers.
  struct Offloads {
    bool ipv4_checksum = false, udp_checksum = false;       // on transmit
    bool rx_ipv4_checksum = false, rx_l4_checksum = false;  // verdict in ol_flags on receive
  };
  virtual Offloads offloads() const noexcept = 0;

 protected:
  Port(PortId id, std::string name, uint16_t vlan = 0, PortId parent = kNoPort)
      : id_(id), name_(std::move(name)), vlan_(vlan), parent_(parent) {}

 private:
  PortId id_;
  std::string name_;
  uint16_t vlan_;
  PortId parent_;
};

}  // namespace sluice
