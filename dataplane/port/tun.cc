#include "dataplane/port/tun.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
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
  ~TunQueue() { close(fd_); }
  TunQueue(const TunQueue&) = delete;
  TunQueue& operator=(const TunQueue&) = delete;

  uint16_t receive(rte_mbuf** packets, uint16_t n) noexcept;
  bool has_more() const noexcept { return next_segment_ < plan_.count(); }
  uint16_t transmit(rte_mbuf** packets, uint16_t n) noexcept;
  int fd() const noexcept { return fd_; }
  PortCounters counters() const noexcept { return counters_.read(); }

 private:
  bool read_frame() noexcept;
  uint16_t cut(rte_mbuf** packets, uint16_t n) noexcept;
  void write_burst(std::span<rte_mbuf*> packets) noexcept;

  const int fd_;
  const Buffers buffers_;
  const bool udp_offload_;
  Segmentation plan_;  // of what lies in frame_
  unsigned next_segment_ = 0;
  Coalescer coalescer_;
  LivePortCounters counters_;
  // Read in one piece and copied from here: to tell the kernel of several pieces costs more than to copy a small
  // packet.
  struct Frame {
    VnetHeader header;
    std::byte packet[kMaxSuperFrame];
  };
  alignas(64) Frame frame_;
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
  bool has_more(uint16_t queue) const noexcept override { return queues_[queue]->has_more(); }
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

// A super-frame is not begun where it does not fit whole: as one burst it leaves in the fewest datagrams, and comes out
// as one super-frame at the other end.
uint16_t TunQueue::receive(rte_mbuf** packets, uint16_t n) noexcept {
  uint16_t got = 0;
  while (got < n && (has_more() || read_frame())) {
    if (got != 0 && plan_.count() - next_segment_ > static_cast<unsigned>(n - got)) break;
    const uint16_t cut_now = cut(packets + got, static_cast<uint16_t>(n - got));
    if (cut_now == 0) break;  // no buffers: they may be this worker's to give back; or nothing sound was read
    got = static_cast<uint16_t>(got + cut_now);
  }
  return got;
}

// One packet or super-frame, and the plan of how to cut it. False: there is nothing, or the interface is down.
bool TunQueue::read_frame() noexcept {
  // Not read(), which in a process with threads announces to the C library before and after every packet that the
  // thread may be cancelled: a tenth of the call.
  const auto size = static_cast<ssize_t>(syscall(SYS_read, fd_, &frame_, sizeof frame_));
  if (size < static_cast<ssize_t>(sizeof frame_.header)) return false;
  const Bytes packet(frame_.packet, static_cast<size_t>(size) - sizeof frame_.header);
  LivePortCounters::add(counters_.rx_bytes, packet.size());
  const auto plan = Segmentation::plan(frame_.header, packet);
  if (!plan) LivePortCounters::add(counters_.rx_errors, 1);
  plan_ = plan.value_or(Segmentation());
  next_segment_ = 0;
  return true;
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
