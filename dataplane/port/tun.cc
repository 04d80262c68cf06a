#include "dataplane/port/tun.h"

#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "dataplane/port/port_counters.h"
#include "dataplane/wire/super_frame.h"

namespace sluice {
namespace {

constexpr unsigned kOffloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
// UDP segmentation (Linux 6.2); Debian 12's headers do not have it.
constexpr unsigned kUdpIpv4 = 0x20, kUdpIpv6 = 0x40;

class TunPort final : public Port {
 public:
  TunPort(PortId id, const std::string& name, int fd, const Buffers& buffers, bool udp_offload)
      : Port(id, name), fd_(fd), buffers_(buffers), udp_offload_(udp_offload) {}
  ~TunPort() override {
    rte_pktmbuf_free(spare_);
    close(fd_);
  }

  Carries carries() const noexcept override { return Carries::kPackets; }
  uint16_t receive_queues() const noexcept override { return 1; }
  uint16_t transmit_queues() const noexcept override { return 1; }
  uint16_t receive(uint16_t queue, rte_mbuf** packets, uint16_t n) noexcept override;
  uint16_t transmit(uint16_t queue, rte_mbuf** packets, uint16_t n) noexcept override;
  Wakeup wakeup(uint16_t) noexcept override { return {Wakeup::Kind::kFd, fd_}; }
  void arm_interrupt(uint16_t, bool) noexcept override {}

  Mac mac() const noexcept override { return {}; }
  uint16_t mtu() const noexcept override { return UINT16_MAX; }  // the interface's own is Linux's business
  bool link_up() const noexcept override { return true; }
  PortCounters counters() const noexcept override { return counters_.read(); }
  std::string device() const override { return "tun"; }
  Offloads offloads() const noexcept override { return {}; }

 private:
  struct Read {
    VnetHeader header;
    size_t size = 0;  // of the packet
  };
  std::optional<Read> read_packet() noexcept;
  uint16_t take(const Read& read, rte_mbuf** packets) noexcept;
  uint16_t cut(rte_mbuf** packets, uint16_t n) noexcept;
  void write_burst(std::span<rte_mbuf*> packets) noexcept;

  // A packet that fits is read into an mbuf and stays there. The rest of a longer one lands in overflow_, and what the
  // mbuf has of it is put in front.
  static constexpr size_t kFront = 4096;
  size_t spare_room() const noexcept { return std::min(Buffers::room(buffers_.usual), kFront); }

  int fd_;
  Buffers buffers_;
  bool udp_offload_;
  rte_mbuf* spare_ = nullptr;  // to read into
  Segmentation plan_;          // of a super-frame that lies in overflow_
  unsigned next_segment_ = 0;
  Coalescer coalescer_;
  LivePortCounters counters_;
  alignas(64) std::array<std::byte, kFront + kMaxSuperFrame> overflow_;
};

uint16_t TunPort::receive(uint16_t, rte_mbuf** packets, uint16_t n) noexcept {
  uint16_t got = 0;
  while (got < n) {
    if (next_segment_ < plan_.count()) {
      got = static_cast<uint16_t>(got + cut(packets + got, static_cast<uint16_t>(n - got)));
      continue;
    }
    const auto read = read_packet();
    if (!read) break;
    got = static_cast<uint16_t>(got + take(*read, packets + got));
  }
  return got;
}

std::optional<TunPort::Read> TunPort::read_packet() noexcept {
  if (spare_ == nullptr) spare_ = rte_pktmbuf_alloc(buffers_.usual);
  if (spare_ == nullptr) return std::nullopt;  // what Linux sent stays in its queue
  Read read;
  iovec parts[3]{{&read.header, sizeof read.header},
                 {rte_pktmbuf_mtod(spare_, void*), spare_room()},
                 {overflow_.data() + kFront, kMaxSuperFrame}};
  const ssize_t size = readv(fd_, parts, 3);
  if (size < 0) return std::nullopt;  // nothing there, or the interface is down
  read.size = static_cast<size_t>(size) - std::min(static_cast<size_t>(size), sizeof read.header);
  return read;
}

// One packet as it is, or the plan of how to cut it. How many packets it gave: 0 or 1.
uint16_t TunPort::take(const Read& read, rte_mbuf** packets) noexcept {
  LivePortCounters::add(counters_.rx_bytes, read.size);
  if (read.header.type == VnetHeader::kNone && read.size <= spare_room()) {
    rte_mbuf* m = std::exchange(spare_, nullptr);
    rte_pktmbuf_append(m, static_cast<uint16_t>(read.size));
    if (complete_checksum(read.header, {rte_pktmbuf_mtod(m, std::byte*), read.size})) {
      LivePortCounters::add(counters_.rx_packets, 1);
      *packets = m;
      return 1;
    }
    rte_pktmbuf_free(m);
    LivePortCounters::add(counters_.rx_errors, 1);
    return 0;
  }
  const size_t in_front = spare_room();
  std::byte* packet = overflow_.data() + kFront - in_front;
  std::memcpy(packet, rte_pktmbuf_mtod(spare_, void*), std::min(in_front, read.size));
  if (const auto plan = Segmentation::plan(read.header, {packet, read.size})) {
    plan_ = *plan;
    next_segment_ = 0;
  } else {
    LivePortCounters::add(counters_.rx_errors, 1);
  }
  return 0;
}

uint16_t TunPort::cut(rte_mbuf** packets, uint16_t n) noexcept {
  uint16_t got = 0;
  for (; got < n && next_segment_ < plan_.count(); ++next_segment_) {
    const size_t size = plan_.size(next_segment_);
    rte_mbuf* m = buffers_.allocate(size);
    if (m == nullptr) {
      LivePortCounters::add(counters_.rx_missed, 1);
      continue;
    }
    plan_.write(next_segment_, {rte_pktmbuf_mtod(m, std::byte*), size});
    packets[got++] = m;
  }
  LivePortCounters::add(counters_.rx_packets, got);
  return got;
}

// Takes all of them: what Linux refuses (the interface is down) is lost, and waiting for it would not help.
uint16_t TunPort::transmit(uint16_t, rte_mbuf** packets, uint16_t n) noexcept {
  for (uint16_t done = 0; done < n;) {
    const auto part = std::min<uint16_t>(Coalescer::kMaxPackets, static_cast<uint16_t>(n - done));
    write_burst({packets + done, part});
    done = static_cast<uint16_t>(done + part);
  }
  rte_pktmbuf_free_bulk(packets, n);
  return n;
}

void TunPort::write_burst(std::span<rte_mbuf*> burst) noexcept {
  std::array<Bytes, Coalescer::kMaxPackets> packets;
  for (size_t i = 0; i < burst.size(); ++i)
    packets[i] = {rte_pktmbuf_mtod(burst[i], std::byte*), rte_pktmbuf_data_len(burst[i])};
  for (const Coalescer::Group& group : coalescer_.coalesce({packets.data(), burst.size()}, udp_offload_)) {
    VnetHeader header = group.header;
    iovec parts[1 + Coalescer::kMaxPackets]{{&header, sizeof header},
                                            {packets[group.first].data(), packets[group.first].size()}};
    int count = 2;
    for (uint8_t p = group.first; p != group.last;) {
      p = coalescer_.next(p);
      const Bytes payload = packets[p].subspan(group.headers);
      parts[count++] = {payload.data(), payload.size()};
    }
    const ssize_t written = writev(fd_, parts, count);
    if (written < 0) {
      LivePortCounters::add(counters_.tx_errors, group.count);
    } else {
      LivePortCounters::add(counters_.tx_packets, group.count);
      LivePortCounters::add(counters_.tx_bytes, static_cast<uint64_t>(written) - sizeof header);
    }
  }
}

}  // namespace

Result<std::unique_ptr<Port>> make_tun_port(PortId id, const std::string& name, int fd, const Buffers& buffers) {
  const bool udp = ioctl(fd, TUNSETOFFLOAD, kOffloads | kUdpIpv4 | kUdpIpv6) == 0;
  if (!udp && ioctl(fd, TUNSETOFFLOAD, kOffloads) != 0) {
    const int error = errno;
    close(fd);
    return Error{"interface " + name + ": no offloads (TUNSETOFFLOAD): " + std::strerror(error), error};
  }
  return std::unique_ptr<Port>(new TunPort(id, name, fd, buffers, udp));
}

}  // namespace sluice
