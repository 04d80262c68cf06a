#include "dataplane/port/udp_socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "dataplane/port/port_counters.h"
#include "dataplane/port/socket_steering.h"
#include "dataplane/wire/ip.h"

namespace sluice {
namespace {

constexpr int kSocketBuffer = 4 << 20;
constexpr size_t kMaxDatagram = 65536;
constexpr unsigned kMostMessages = 32;     // per system call, in
constexpr unsigned kMostSegments = 64;     // of one datagram, out: as many as every kernel takes
constexpr size_t kMostSuperSize = 65000;   // payload of one datagram, headers of the kernel's left room for
constexpr unsigned kMostFrames = 64;       // per system call, out
constexpr int kSendPatience = 5;           // ms that a full socket may hold up the worker
constexpr unsigned kCloseAttempts = 2000;  // to bind a port that is on its way out; workers wait for a busy processor
constexpr std::chrono::milliseconds kCloseInterval(1);

// The address and port a socket is bound to or a datagram comes from, either family.
union SocketAddress {
  sockaddr any;
  sockaddr_in ipv4;
  sockaddr_in6 ipv6;
};

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const noexcept { return fd_; }
  bool valid() const noexcept { return fd_ >= 0; }

 private:
  int fd_;
};

void set_option(int fd, int level, int option, int value) noexcept {
  setsockopt(fd, level, option, &value, sizeof value);
}

// Buffers as large as wished need CAP_NET_ADMIN; else as large as the host allows.
void set_buffer(int fd, int force, int plain) noexcept {
  if (setsockopt(fd, SOL_SOCKET, force, &kSocketBuffer, sizeof kSocketBuffer) != 0)
    set_option(fd, SOL_SOCKET, plain, kSocketBuffer);
}

// DF stays clear and a path that is too narrow gets fragments (protocol.md, section 13): PMTUDISC_DONT.
void configure(int fd, int family, uint32_t mark) noexcept {
  set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
  set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
  if (family == AF_INET) {
    set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
    set_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
    set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
  } else {
    set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
  }
  set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
  if (mark != 0) setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark);
}

Error why_not_bound(uint16_t port, int code) {
  const std::string what = "UDP port " + std::to_string(port);
  if (code == EADDRINUSE)
    return {what + " is in use by another program of this host: stop it, or choose another listen-port", code};
  return {what + ": " + std::strerror(code), code};
}

enum class Sharing : uint8_t { kNone, kGroup };

Result<Descriptor> bind_socket(int family, uint16_t port, Sharing sharing) {
  Descriptor fd(socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return why_not_bound(port, errno);
  SocketAddress address{};
  socklen_t size = sizeof address.ipv4;
  address.any.sa_family = static_cast<sa_family_t>(family);
  if (family == AF_INET) {
    address.ipv4.sin_port = htons(port);
  } else {
    set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
    address.ipv6.sin6_port = htons(port);
    size = sizeof address.ipv6;
  }
  if (sharing == Sharing::kGroup) set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1);
  if (bind(fd.get(), &address.any, size) != 0) return why_not_bound(port, errno);
  return fd;
}

constexpr size_t kFamilies = 2;
constexpr std::array<int, kFamilies> kAddressFamilies{AF_INET, AF_INET6};
size_t index_of(Family family) noexcept { return family == Family::kIpv4 ? 0 : 1; }

using Group = std::vector<Descriptor>;  // sockets on one port, one for each worker

// The first is bound as the only one, which nobody else's socket on that port allows; then it lets the others join.
Result<Group> bind_group(int family, uint16_t port, size_t size) {
  Group group;
  for (size_t i = 0; i < size; ++i) {
    if (i == 1) set_option(group[0].get(), SOL_SOCKET, SO_REUSEPORT, 1);
    auto bound = bind_socket(family, port, i == 0 ? Sharing::kNone : Sharing::kGroup);
    if (!bound) return bound.error();
    group.push_back(std::move(*bound));
  }
  return group;
}

// IPv6's is empty on a host without it.
Result<std::array<Group, kFamilies>> bind_groups(uint16_t port, size_t size) {
  auto ipv4 = bind_group(AF_INET, port, size);
  if (!ipv4) return ipv4.error();
  auto ipv6 = bind_group(AF_INET6, port, size);
  if (!ipv6 && ipv6.error().code == EADDRINUSE) return ipv6.error();
  return std::array<Group, kFamilies>{std::move(*ipv4), ipv6 ? std::move(*ipv6) : Group()};
}

// Something that is never readable and is no socket: stands in for one under its number.
int nothing() noexcept { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

constexpr size_t kIpv4Headers = sizeof(Ipv4Header) + sizeof(UdpHeader);
constexpr size_t kIpv6Headers = sizeof(Ipv6Header) + sizeof(UdpHeader);

size_t headers_size(const std::byte* packet) noexcept {
  return version_of({packet, 1}) == Family::kIpv4 ? kIpv4Headers : kIpv6Headers;
}

// ---- in ------------------------------------------------------------------------------------------------------------

// Room for what a call of recvmmsg() gives, and how far it has been taken out.
class Inbox {
 public:
  Inbox() : memory_(new std::byte[kMostMessages * kMaxDatagram]) {}

  // Receives if everything has been taken. False: there is nothing.
  bool refill(int fd, uint16_t listen_port) noexcept;
  bool empty() const noexcept { return at_ == count_; }
  // Looks at the next message: how many datagrams of the wire are left of it.
  size_t open() noexcept;
  // The next of them, and the headers to put in front of it; until the next call.
  struct Datagram {
    ConstBytes headers, payload;
  };
  Datagram next() noexcept;

 private:
  void open_message() noexcept;
  size_t datagrams_of(size_t size) const noexcept { return segment_ == 0 ? 1 : (size + segment_ - 1) / segment_; }

  struct Slot {
    SocketAddress from;
    alignas(cmsghdr) std::array<std::byte, 128> control;
    iovec part;
  };
  std::unique_ptr<std::byte[]> memory_;  // taken from the system as far as it is touched
  std::array<mmsghdr, kMostMessages> messages_;
  std::array<Slot, kMostMessages> slots_;
  unsigned wanted_ = kMostMessages;  // per call: fewer when each holds many datagrams
  unsigned count_ = 0, at_ = 0;
  uint16_t listen_port_ = 0;
  // Of the message at_.
  std::array<std::byte, kIpv6Headers> headers_;
  size_t headers_size_ = 0, segment_ = 0, offset_ = 0;
};

bool Inbox::refill(int fd, uint16_t listen_port) noexcept {
  for (unsigned i = 0; i < wanted_; ++i) {
    Slot& slot = slots_[i];
    slot.part = {memory_.get() + i * kMaxDatagram, kMaxDatagram};
    messages_[i].msg_hdr = {.msg_name = &slot.from,
                            .msg_namelen = sizeof slot.from,
                            .msg_iov = &slot.part,
                            .msg_iovlen = 1,
                            .msg_control = slot.control.data(),
                            .msg_controllen = slot.control.size(),
                            .msg_flags = 0};
  }
  const int n = recvmmsg(fd, messages_.data(), wanted_, MSG_DONTWAIT, nullptr);
  at_ = 0;
  offset_ = 0;
  count_ = n > 0 ? static_cast<unsigned>(n) : 0;
  listen_port_ = listen_port;
  return count_ != 0;
}

// Reads what the kernel says about the message and makes its headers.
void Inbox::open_message() noexcept {
  msghdr& message = messages_[at_].msg_hdr;
  const SocketAddress& from = slots_[at_].from;
  const size_t size = messages_[at_].msg_len;
  IpAddress local;
  uint8_t tos = 0;
  segment_ = size;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    const auto* data = CMSG_DATA(c);
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      local = IpAddress::ipv4(data + offsetof(in_pktinfo, ipi_addr));
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      local = IpAddress::ipv6(data + offsetof(in6_pktinfo, ipi6_addr));
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
      tos = *data;
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
      int traffic_class = 0;
      std::memcpy(&traffic_class, data, sizeof traffic_class);
      tos = static_cast<uint8_t>(traffic_class);
    } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
      int segment = 0;
      std::memcpy(&segment, data, sizeof segment);
      if (segment > 0) segment_ = static_cast<size_t>(segment);
    }
  }
  // Enough messages for a burst, no more: a datagram of many is 64 KiB, and cold again before its turn comes.
  wanted_ = std::clamp<unsigned>(static_cast<unsigned>(64 / std::max<size_t>(1, datagrams_of(size))), 1, kMostMessages);

  UdpHeader udp{};
  udp.destination_port = listen_port_;
  udp.length = static_cast<uint16_t>(sizeof udp + segment_);
  if (from.any.sa_family == AF_INET) {
    Ipv4Header ip{};
    ip.version_ihl = 0x45;
    ip.tos = tos;
    ip.total_length = static_cast<uint16_t>(kIpv4Headers + segment_);
    ip.ttl = kDefaultHopLimit;
    ip.protocol = kProtocolUdp;
    std::memcpy(ip.source.data(), &from.ipv4.sin_addr, ip.source.size());
    std::memcpy(ip.destination.data(), local.bytes.data(), ip.destination.size());
    udp.source_port = ntohs(from.ipv4.sin_port);
    std::memcpy(headers_.data(), &ip, sizeof ip);
    std::memcpy(headers_.data() + sizeof ip, &udp, sizeof udp);
    headers_size_ = kIpv4Headers;
  } else {
    Ipv6Header ip{};
    ip.version_class_flow = 6u << 28 | uint32_t{tos} << 20;
    ip.payload_length = static_cast<uint16_t>(sizeof udp + segment_);
    ip.next_header = kProtocolUdp;
    ip.hop_limit = kDefaultHopLimit;
    std::memcpy(ip.source.data(), &from.ipv6.sin6_addr, ip.source.size());
    embed_scope(ip.source, from.ipv6.sin6_scope_id);
    ip.destination = local.bytes;
    udp.source_port = ntohs(from.ipv6.sin6_port);
    std::memcpy(headers_.data(), &ip, sizeof ip);
    std::memcpy(headers_.data() + sizeof ip, &udp, sizeof udp);
    headers_size_ = kIpv6Headers;
  }
}

size_t Inbox::open() noexcept {
  if (offset_ == 0) open_message();
  return datagrams_of(messages_[at_].msg_len - offset_);
}

Inbox::Datagram Inbox::next() noexcept {
  const size_t size = messages_[at_].msg_len;
  const Datagram datagram{{headers_.data(), headers_size_},
                          {memory_.get() + at_ * kMaxDatagram + offset_, std::min(segment_, size - offset_)}};
  offset_ += segment_;
  if (offset_ >= size) {
    ++at_;
    offset_ = 0;
  }
  return datagram;
}

// ---- out -----------------------------------------------------------------------------------------------------------

// Frames that leave by one system call: as few datagrams as their headers and sizes allow.
class Outbox {
 public:
  // Sends as many as the socket takes; how many of the frames that is. What cannot be sent at all (no route, filtered)
  // counts as taken, in `lost`.
  uint16_t send(int fd, std::span<rte_mbuf* const> frames, bool& segmentation, uint64_t& lost) noexcept;

 private:
  struct Message {
    SocketAddress to;
    alignas(cmsghdr) std::array<std::byte, 128> control;
    uint16_t first = 0, count = 0;
  };
  unsigned group(std::span<rte_mbuf* const> frames, bool segmentation) noexcept;
  void address(Message& message, msghdr& header, const std::byte* packet, uint16_t segment) noexcept;
  bool send_again(int fd, msghdr& header, const Message& message) noexcept;

  std::array<mmsghdr, kMostFrames> headers_;
  std::array<Message, kMostFrames> messages_;
  std::array<iovec, kMostFrames> parts_;
};

// Same destination, source, TOS.
bool same_way(const std::byte* a, const std::byte* b) noexcept {
  const auto equal = [a, b](size_t from, size_t to) { return std::memcmp(a + from, b + from, to - from) == 0; };
  if (!equal(0, 2)) return false;  // version, TOS
  if (version_of({a, 1}) == Family::kIpv4) return equal(12, kIpv4Headers - 4);
  return equal(8, kIpv6Headers - 4);
}

ConstBytes packet_of(const rte_mbuf* m) noexcept {
  return {rte_pktmbuf_mtod(m, const std::byte*), rte_pktmbuf_data_len(m)};
}

unsigned Outbox::group(std::span<rte_mbuf* const> frames, bool segmentation) noexcept {
  unsigned messages = 0;
  for (size_t i = 0; i < frames.size();) {
    const ConstBytes first = packet_of(frames[i]);
    const size_t skip = headers_size(first.data()), segment = first.size() - skip;
    Message& message = messages_[messages];
    message.first = static_cast<uint16_t>(i);
    size_t total = 0;
    for (; i < frames.size(); ++i) {
      const ConstBytes packet = packet_of(frames[i]);
      const size_t size = packet.size() - skip;
      const bool more = i != message.first;
      if (more && (!segmentation || size > segment || total + size > kMostSuperSize ||
                   i - message.first == kMostSegments || !same_way(first.data(), packet.data())))
        break;
      parts_[i] = {const_cast<std::byte*>(packet.data()) + skip, size};
      total += size;
      if (size < segment) {  // a short one is the last
        ++i;
        break;
      }
    }
    message.count = static_cast<uint16_t>(i - message.first);
    msghdr& header = headers_[messages++].msg_hdr;
    header = {};
    header.msg_iov = &parts_[message.first];
    header.msg_iovlen = message.count;
    address(message, header, first.data(), static_cast<uint16_t>(message.count > 1 ? segment : 0));
  }
  return messages;
}

// Adds control messages one after the other.
class Control {
 public:
  Control(msghdr& header, std::span<std::byte> room) noexcept : header_(header) {
    header_.msg_control = room.data();
    header_.msg_controllen = 0;
  }
  template <class T>
  void add(int level, int type, const T& value) noexcept {
    auto* c = reinterpret_cast<cmsghdr*>(static_cast<std::byte*>(header_.msg_control) + header_.msg_controllen);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(sizeof value);
    std::memcpy(CMSG_DATA(c), &value, sizeof value);
    header_.msg_controllen += CMSG_SPACE(sizeof value);
  }

 private:
  msghdr& header_;
};

// From the headers in front of the packet to an address and control messages. `segment`: 0: one datagram.
void Outbox::address(Message& message, msghdr& header, const std::byte* packet, uint16_t segment) noexcept {
  Control control(header, message.control);
  header.msg_name = &message.to;
  message.to = {};
  if (segment != 0) control.add(IPPROTO_UDP, UDP_SEGMENT, segment);
  if (version_of({packet, 1}) == Family::kIpv4) {
    const auto& ip = *reinterpret_cast<const Ipv4Header*>(packet);
    const auto& udp = *reinterpret_cast<const UdpHeader*>(packet + sizeof ip);
    header.msg_namelen = sizeof message.to.ipv4;
    message.to.ipv4.sin_family = AF_INET;
    message.to.ipv4.sin_port = htons(udp.destination_port.host());
    std::memcpy(&message.to.ipv4.sin_addr, ip.destination.data(), ip.destination.size());
    if (ip.tos != 0) control.add(IPPROTO_IP, IP_TOS, int{ip.tos});
    in_pktinfo source{};
    std::memcpy(&source.ipi_spec_dst, ip.source.data(), ip.source.size());
    if (source.ipi_spec_dst.s_addr != INADDR_ANY) control.add(IPPROTO_IP, IP_PKTINFO, source);
    return;
  }
  const auto& ip = *reinterpret_cast<const Ipv6Header*>(packet);
  const auto& udp = *reinterpret_cast<const UdpHeader*>(packet + sizeof ip);
  auto remote = ip.destination;
  const uint32_t scope = extract_scope(remote);
  header.msg_namelen = sizeof message.to.ipv6;
  message.to.ipv6.sin6_family = AF_INET6;
  message.to.ipv6.sin6_port = htons(udp.destination_port.host());
  message.to.ipv6.sin6_scope_id = scope;
  std::memcpy(&message.to.ipv6.sin6_addr, remote.data(), remote.size());
  if (ip.traffic_class() != 0) control.add(IPPROTO_IPV6, IPV6_TCLASS, int{ip.traffic_class()});
  in6_pktinfo source{};
  std::memcpy(&source.ipi6_addr, ip.source.data(), ip.source.size());
  source.ipi6_ifindex = scope;
  if (!IN6_IS_ADDR_UNSPECIFIED(&source.ipi6_addr)) control.add(IPPROTO_IPV6, IPV6_PKTINFO, source);
}

uint16_t Outbox::send(int fd, std::span<rte_mbuf* const> frames, bool& segmentation, uint64_t& lost) noexcept {
  const unsigned messages = group(frames, segmentation);
  bool waited = false;
  for (unsigned at = 0; at < messages;) {
    const int n = sendmmsg(fd, &headers_[at], messages - at, MSG_DONTWAIT);
    if (n > 0) {
      at += static_cast<unsigned>(n);
      continue;
    }
    if ((errno == EAGAIN || errno == ENOBUFS) && !std::exchange(waited, true)) {
      // The interface is slower than we are. While we wait, Linux holds back whoever sends into the tunnel.
      pollfd writable{fd, POLLOUT, 0};
      poll(&writable, 1, kSendPatience);
      continue;
    }
    if (errno == EAGAIN || errno == ENOBUFS) return messages_[at].first;
    if (errno == EIO && messages_[at].count > 1) segmentation = false;  // an interface without checksum offload
    if (!send_again(fd, headers_[at].msg_hdr, messages_[at])) lost += messages_[at].count;
    ++at;
  }
  return static_cast<uint16_t>(frames.size());
}

// What the kernel refused as one: each datagram for itself (a path narrower than the segments, an interface that cannot
// segment), and without our address if it is ours no more. False: some were lost.
bool Outbox::send_again(int fd, msghdr& header, const Message& message) noexcept {
  const auto* packet = static_cast<const std::byte*>(header.msg_iov[0].iov_base);
  packet -= header.msg_namelen == sizeof(sockaddr_in) ? kIpv4Headers : kIpv6Headers;
  Message single = message;
  address(single, header, packet, 0);
  bool sent = true;
  iovec* parts = header.msg_iov;
  header.msg_iovlen = 1;
  for (uint16_t i = 0; i < message.count; ++i) {
    header.msg_iov = parts + i;
    if (sendmsg(fd, &header, MSG_DONTWAIT) >= 0) continue;
    header.msg_controllen = 0;
    sent = sendmsg(fd, &header, MSG_DONTWAIT) >= 0 && sent;
  }
  return sent;
}

// ---- the port ------------------------------------------------------------------------------------------------------

// What one worker needs: one that receives, by the queue of its number of each family, and one that transmits.
struct Lane {
  std::array<Inbox, kFamilies> inboxes;
  Outbox outbox;
  std::array<bool, kFamilies> segmentation{true, true};
  LivePortCounters counters;
};

class SocketPort final : public UdpSocketPort {
 public:
  SocketPort(PortId id, const std::string& name, uint16_t workers, const Buffers& buffers)
      : UdpSocketPort(id, name), buffers_(buffers) {
    for (uint16_t w = 0; w < workers; ++w) lanes_.push_back(std::make_unique<Lane>());
    for (size_t q = 0; q < kFamilies * workers; ++q) fds_.emplace_back(nothing());
  }

  bool has_descriptors() const noexcept {
    return std::all_of(fds_.begin(), fds_.end(), [](const Descriptor& fd) { return fd.valid(); });
  }

  Carries carries() const noexcept override { return Carries::kDatagrams; }
  uint16_t receive_queues() const noexcept override { return static_cast<uint16_t>(fds_.size()); }
  uint16_t transmit_queues() const noexcept override { return static_cast<uint16_t>(lanes_.size()); }
  uint16_t receive(uint16_t queue, rte_mbuf** packets, uint16_t n) noexcept override;
  bool has_more(uint16_t queue) const noexcept override { return !inbox_of(queue).empty(); }
  uint16_t transmit(uint16_t queue, rte_mbuf** packets, uint16_t n) noexcept override;
  Wakeup wakeup(uint16_t queue) noexcept override { return {Wakeup::Kind::kFd, fds_[queue].get()}; }
  void arm_interrupt(uint16_t, bool) noexcept override {}

  Mac mac() const noexcept override { return {}; }
  uint16_t mtu() const noexcept override { return UINT16_MAX; }
  bool link_up() const noexcept override { return true; }
  PortCounters counters() const noexcept override;
  std::string device() const override { return "socket"; }
  Offloads offloads() const noexcept override { return {.ipv4_checksum = true, .udp_checksum = true}; }

  Result<void> open(uint16_t port) override;
  void close() override;
  bool has(Family family) const noexcept override { return open_[index_of(family)]; }
  void set_mark(uint32_t mark) override;
  void steer(const QueueByIndex& queues, std::span<const uint16_t> listen_ports) override;
  Steering steering() const override { return steering_; }

 private:
  Lane& lane_of(uint16_t queue) const noexcept { return *lanes_[queue % lanes_.size()]; }
  Inbox& inbox_of(uint16_t queue) const noexcept { return lane_of(queue).inboxes[queue / lanes_.size()]; }
  void steer_sockets();
  std::span<Descriptor> sockets_of(size_t family) noexcept {
    return std::span(fds_).subspan(family * lanes_.size(), lanes_.size());
  }
  void replace(size_t family, const Group& group) noexcept;
  void remember_port() noexcept;

  const Buffers buffers_;
  // By receive queue. Descriptor numbers for life: what stands behind them is swapped under the workers (dup3), so that
  // they need to be told nothing and never meet a number that has become somebody else's.
  std::vector<Descriptor> fds_;
  std::array<bool, kFamilies> open_{};  // control only, as the next four
  uint32_t mark_ = 0;
  QueueByIndex queues_;  // empty: nobody has asked
  Steering steering_;
  uint16_t left_port_ = 0;                // the last that was listened on before
  std::atomic<uint16_t> listen_port_{0};  // written by control, read by workers
  std::vector<std::unique_ptr<Lane>> lanes_;
};

Result<void> SocketPort::open(uint16_t port) {
  auto groups = bind_groups(port, lanes_.size());
  // Sockets of a moment ago are ours until the workers that slept on them have woken up.
  for (unsigned attempt = 0; attempt < kCloseAttempts && !groups && port == left_port_; ++attempt) {
    if (groups.error().code != EADDRINUSE) break;
    std::this_thread::sleep_for(kCloseInterval);
    groups = bind_groups(port, lanes_.size());
  }
  if (!groups) return groups.error();
  remember_port();
  for (size_t family = 0; family < kFamilies; ++family) {
    for (const Descriptor& socket : (*groups)[family]) configure(socket.get(), kAddressFamilies[family], mark_);
    replace(family, (*groups)[family]);
  }
  listen_port_.store(port, std::memory_order_relaxed);
  steer_sockets();
  return {};
}

void SocketPort::remember_port() noexcept {
  if (open_[0] || open_[1]) left_port_ = listen_port_.load(std::memory_order_relaxed);
}

void SocketPort::close() {
  remember_port();
  for (size_t family = 0; family < kFamilies; ++family) replace(family, {});
}

// An empty group: nothing is bound.
void SocketPort::replace(size_t family, const Group& group) noexcept {
  const Descriptor stand_in(group.empty() ? nothing() : -1);
  if (group.empty() && !stand_in.valid()) return;
  const std::span<Descriptor> sockets = sockets_of(family);
  for (size_t i = 0; i < sockets.size(); ++i) {
    // A worker asleep on what stands there has to wake up: until then the kernel keeps that open (a socket: bound) and
    // does not look at what comes under the number next.
    const int fd = sockets[i].get();
    if (open_[family]) {
      shutdown(fd, SHUT_RDWR);
    } else {
      eventfd_write(fd, 1);
    }
    dup3(group.empty() ? stand_in.get() : group[i].get(), fd, O_CLOEXEC);
  }
  open_[family] = !group.empty();
}

// Whatever they listen on.
void SocketPort::steer(const QueueByIndex& queues, std::span<const uint16_t>) {
  queues_ = queues;
  steer_sockets();
}

void SocketPort::steer_sockets() {
  steering_ = {};
  if (queues_.queues.empty()) return;
  for (size_t family = 0; family < kFamilies; ++family) {
    if (!open_[family]) continue;
    const auto done = steer_by_index(sockets_of(family)[0].get(), queues_, transmit_queues());
    if (!done) {
      steering_ = {Steering::State::kRefused, done.error().what};
      return;
    }
    steering_.state = Steering::State::kOn;
  }
}

void SocketPort::set_mark(uint32_t mark) {
  mark_ = mark;
  for (size_t family = 0; family < kFamilies; ++family) {
    if (!open_[family]) continue;
    for (const Descriptor& socket : sockets_of(family))
      setsockopt(socket.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark);
  }
}

PortCounters SocketPort::counters() const noexcept {
  PortCounters sum;
  for (const auto& lane : lanes_) sum += lane->counters.read();
  return sum;
}

// A message is not begun where it does not fit whole: what left as one super-frame then goes on as one.
uint16_t SocketPort::receive(uint16_t queue, rte_mbuf** packets, uint16_t n) noexcept {
  Lane& lane = lane_of(queue);
  Inbox& inbox = inbox_of(queue);
  if (inbox.empty() && !inbox.refill(fds_[queue].get(), listen_port_.load(std::memory_order_relaxed))) return 0;
  uint16_t got = 0;
  uint64_t bytes = 0, missed = 0;
  while (!inbox.empty()) {
    const size_t left = inbox.open(), room = n - got;
    if (got != 0 && left > room) break;
    for (size_t i = std::min(left, room); i != 0; --i) {
      const Inbox::Datagram datagram = inbox.next();
      const size_t size = datagram.headers.size() + datagram.payload.size();
      rte_mbuf* m = buffers_.allocate(size);
      if (m == nullptr) {
        ++missed;
        continue;
      }
      auto* at = rte_pktmbuf_mtod(m, std::byte*);
      std::memcpy(at, datagram.headers.data(), datagram.headers.size());
      std::memcpy(at + datagram.headers.size(), datagram.payload.data(), datagram.payload.size());
      bytes += size;
      packets[got++] = m;
    }
  }
  LivePortCounters::add(lane.counters.rx_packets, got);
  LivePortCounters::add(lane.counters.rx_bytes, bytes);
  LivePortCounters::add(lane.counters.rx_missed, missed);
  return got;
}

uint16_t SocketPort::transmit(uint16_t queue, rte_mbuf** packets, uint16_t n) noexcept {
  Lane& lane = *lanes_[queue];
  uint16_t taken = 0;
  uint64_t lost = 0, bytes = 0;
  while (taken < n) {
    const Family family = version_of(packet_of(packets[taken]));
    uint16_t end = static_cast<uint16_t>(taken + 1);  // a stretch of one family goes by its socket
    while (end < n && end - taken < int{kMostFrames} && version_of(packet_of(packets[end])) == family) ++end;
    const size_t index = index_of(family);
    const int fd = fds_[index * lanes_.size() + queue].get();
    const std::span stretch(packets + taken, static_cast<size_t>(end - taken));
    const uint16_t sent = lane.outbox.send(fd, stretch, lane.segmentation[index], lost);
    taken = static_cast<uint16_t>(taken + sent);
    if (sent < stretch.size()) break;
  }
  for (rte_mbuf* m : std::span(packets, taken)) bytes += rte_pktmbuf_data_len(m);
  rte_pktmbuf_free_bulk(packets, taken);
  LivePortCounters::add(lane.counters.tx_packets, taken - lost);
  LivePortCounters::add(lane.counters.tx_bytes, bytes);
  LivePortCounters::add(lane.counters.tx_errors, lost);
  return taken;
}

}  // namespace

Result<std::unique_ptr<UdpSocketPort>> make_udp_socket_port(PortId id, const std::string& name, uint16_t workers,
                                                            const Buffers& buffers) {
  auto port = std::make_unique<SocketPort>(id, name, workers, buffers);
  if (!port->has_descriptors()) return Error{"no descriptor left; raise the limit of open files (ulimit -n)", EMFILE};
  return std::unique_ptr<UdpSocketPort>(std::move(port));
}

Result<void> probe_udp_port(uint16_t port) {
  auto groups = bind_groups(port, 1);
  if (!groups) return groups.error();
  return {};
}

}  // namespace sluice
