#include "dataplane/port/tun.h"

#include <fcntl.h>
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
#include "dataplane/port/tun_steering.h"
#include "dataplane/wire/super_frame.h"

namespace sluice {
namespace {

constexpr unsigned kOffloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
// UDP segmentation (Linux 6.2); Debian 12's headers do not have it.
constexpr unsigned kUdpIpv4 = 0x20, kUdpIpv6 = 0x40;

// One queue and what its worker needs for it: one receives, one transmits, with no member in common but the descriptor.
class TunQueue {
 public:
  TunQueue(int fd, const Buffers& buffers, bool udp_offload) : fd_(fd), buffers_(buffers), udp_offload_(udp_offload) {}
  ~TunQueue() {
    rte_pktmbuf_free(spare_);
    close(fd_);
  }
  TunQueue(const TunQueue&) = delete;
  TunQueue& operator=(const TunQueue&) = delete;

  uint16_t receive(rte_mbuf** packets, uint16_t n) noexcept;
  uint16_t transmit(rte_mbuf** packets, uint16_t n) noexcept;
  int fd() const noexcept { return fd_; }
  PortCounters counters() const noexcept { return counters_.read(); }

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

  const int fd_;
  const Buffers buffers_;
  const bool udp_offload_;
  rte_mbuf* spare_ = nullptr;  // to read into
  Segmentation plan_;          // of a super-frame that lies in overflow_
  unsigned next_segment_ = 0;
  Coalescer coalescer_;
  LivePortCounters counters_;
  alignas(64) std::array<std::byte, kFront + kMaxSuperFrame> overflow_;
};

class TunPort final : public Port {
 public:
  using Queues = std::vector<std::unique_ptr<TunQueue>>;
  TunPort(PortId id, const std::string& name, Queues queues, uint16_t receive_queues)
      : Port(id, name), queues_(std::move(queues)), receive_queues_(receive_queues) {}

  Carries carries() const noexcept override { return Carries::kPackets; }
  uint16_t receive_queues() const noexcept override { return receive_queues_; }
  uint16_t transmit_queues() const noexcept override { return static_cast<uint16_t>(queues_.size()); }
  uint16_t receive(uint16_t queue, rte_mbuf** packets, uint16_t n) noexcept override {
    return queues_[queue]->receive(packets, n);
  }
  uint16_t transmit(uint16_t queue, rte_mbuf** packets, uint16_t n) noexcept override {
    return queues_[queue]->transmit(packets, n);
  }
  Wakeup wakeup(uint16_t queue) noexcept override { return {Wakeup::Kind::kFd, queues_[queue]->fd()}; }
  void arm_interrupt(uint16_t, bool) noexcept override {}

  Mac mac() const noexcept override { return {}; }
  uint16_t mtu() const noexcept override { return UINT16_MAX; }  // the interface's own is Linux's business
  bool link_up() const noexcept override { return true; }
  PortCounters counters() const noexcept override {
    PortCounters sum;
    for (const auto& queue : queues_) sum += queue->counters();
    return sum;
  }
  std::string device() const override { return "tun"; }
  Offloads offloads() const noexcept override { return {}; }

 private:
  const Queues queues_;
  const uint16_t receive_queues_;
};

uint16_t TunQueue::receive(rte_mbuf** packets, uint16_t n) noexcept {
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

std::optional<TunQueue::Read> TunQueue::read_packet() noexcept {
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
uint16_t TunQueue::take(const Read& read, rte_mbuf** packets) noexcept {
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

uint16_t TunQueue::cut(rte_mbuf** packets, uint16_t n) noexcept {
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
uint16_t TunQueue::transmit(rte_mbuf** packets, uint16_t n) noexcept {
  for (uint16_t done = 0; done < n;) {
    const auto part = std::min<uint16_t>(Coalescer::kMaxPackets, static_cast<uint16_t>(n - done));
    write_burst({packets + done, part});
    done = static_cast<uint16_t>(done + part);
  }
  rte_pktmbuf_free_bulk(packets, n);
  return n;
}

void TunQueue::write_burst(std::span<rte_mbuf*> burst) noexcept {
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

Result<std::unique_ptr<Port>> make_tun_port(PortId id, const std::string& name, std::vector<int> fds, uint16_t workers,
                                            const Buffers& buffers) {
  const auto close_from = [&fds](size_t first) {
    for (size_t i = first; i < fds.size(); ++i) close(fds[i]);
    fds.resize(first);
  };
  const bool udp = ioctl(fds[0], TUNSETOFFLOAD, kOffloads | kUdpIpv4 | kUdpIpv6) == 0;
  if (!udp && ioctl(fds[0], TUNSETOFFLOAD, kOffloads) != 0) {
    const int error = errno;
    close_from(0);
    return Error{"interface " + name + ": no offloads (TUNSETOFFLOAD): " + std::strerror(error), error};
  }
  if (fds.size() > 1 && !steer_by_flow(fds[0])) close_from(1);
  const auto receive_queues = static_cast<uint16_t>(fds.size());
  while (fds.size() < workers) {  // to write, any descriptor will do
    const int fd = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
      close_from(0);
      return Error{"no descriptor left; raise the limit of open files (ulimit -n)", EMFILE};
    }
    fds.push_back(fd);
  }
  TunPort::Queues queues;
  for (const int fd : fds) queues.push_back(std::make_unique<TunQueue>(fd, buffers, udp));
  return std::unique_ptr<Port>(new TunPort(id, name, std::move(queues), receive_queues));
}

}  // namespace sluice
