#include "control/linux/tun_watch.h"

#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sluice {
namespace {

constexpr int kAnswerTimeout = 1000;  // ms; the answer is there when send() returns

Error failed(const std::string& what, int code) { return {"rtnetlink: " + what + ": " + std::strerror(code), code}; }

Result<int> open_netlink(unsigned groups) {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (fd < 0) return failed("socket", errno);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = groups;
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  const int code = errno;
  close(fd);
  return failed("bind", code);
}

// A socket belongs for life to the network namespace of the thread that made it: this thread visits the interface's for
// a moment. Where that is not permitted, or not known, our own has to do.
Result<int> open_netlink_beside(int tun, unsigned groups) {
  const int there = ioctl(tun, TUNGETDEVNETNS), here = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  const bool away = there >= 0 && here >= 0 && setns(there, CLONE_NEWNET) == 0;
  Result<int> fd = open_netlink(groups);
  if (away && setns(here, CLONE_NEWNET) != 0)
    fd = failed("cannot return from the interface's network namespace", errno);
  if (there >= 0) close(there);
  if (here >= 0) close(here);
  return fd;
}

// Empty: the interface has been deleted.
std::string name_of(int tun) {
  ifreq request{};
  return ioctl(tun, TUNGETIFF, &request) == 0 ? std::string(request.ifr_name) : std::string();
}

}  // namespace

TunWatch::TunWatch(TunWatch&& other) noexcept
    : tun_(other.tun_),
      fd_(std::exchange(other.fd_, -1)),
      name_(std::move(other.name_)),
      index_(other.index_),
      lost_(other.lost_),
      state_(other.state_) {}

TunWatch::~TunWatch() {
  if (fd_ >= 0) close(fd_);
}

Result<TunWatch> TunWatch::open(int tun) {
  TunWatch watch(tun);
  if (auto attached = watch.attach(); !attached) return attached.error();
  if (auto known = watch.wait_for_state(); !known) return known.error();
  return watch;
}

// Listens where the interface is now, and asks for its state.
Result<void> TunWatch::attach() {
  name_ = name_of(tun_);
  if (name_.empty()) {
    state_ = {.gone = true};
    return {};
  }
  auto fd = open_netlink_beside(tun_, RTMGRP_LINK);
  if (!fd) return fd.error();
  if (fd_ >= 0) close(fd_);
  fd_ = *fd;
  index_ = 0;
  lost_ = false;
  alignas(nlmsghdr) std::array<char, 128> buffer{};
  nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = RTM_GETLINK;
  request->nlmsg_flags = NLM_F_REQUEST;
  mnl_nlmsg_put_extra_header(request, sizeof(ifinfomsg));
  mnl_attr_put_strz(request, IFLA_IFNAME, name_.c_str());
  if (send(fd_, request, request->nlmsg_len, 0) < 0) return failed("send", errno);
  return {};
}

Result<void> TunWatch::wait_for_state() {
  while (index_ == 0 && !state_.gone) {
    pollfd readable{fd_, POLLIN, 0};
    if (poll(&readable, 1, kAnswerTimeout) <= 0) return failed("no answer about interface " + name_, ETIMEDOUT);
    update();
  }
  return {};
}

const TunWatch::State& TunWatch::update() {
  alignas(nlmsghdr) std::array<char, 32768> buffer;
  while (!state_.gone && !lost_) {
    const ssize_t size = recv(fd_, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size < 0 && errno == ENOBUFS) lost_ = true;  // notifications were lost: ask anew
    if (size <= 0) break;
    int left = static_cast<int>(size);
    for (const auto* m = reinterpret_cast<const nlmsghdr*>(buffer.data()); mnl_nlmsg_ok(m, left);
         m = mnl_nlmsg_next(m, &left))
      handle(*m);
  }
  if (lost_ && !state_.gone) look_for_it();
  return state_;
}

void TunWatch::handle(const nlmsghdr& message) {
  if (message.nlmsg_type == NLMSG_ERROR) {
    lost_ = name_of(tun_) != name_;  // renamed, or deleted, between our two questions; else asking again is no use
    return;
  }
  if (message.nlmsg_type != RTM_NEWLINK && message.nlmsg_type != RTM_DELLINK) return;
  if (mnl_nlmsg_get_payload_len(&message) < sizeof(ifinfomsg)) return;
  const auto& link = *static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(&message));
  std::string name;
  uint32_t mtu = state_.mtu;
  const char* end = static_cast<const char*>(mnl_nlmsg_get_payload_tail(&message));
  const auto* attribute = static_cast<const nlattr*>(mnl_nlmsg_get_payload_offset(&message, sizeof(ifinfomsg)));
  const auto left = [&] { return static_cast<int>(end - reinterpret_cast<const char*>(attribute)); };
  for (; mnl_attr_ok(attribute, left()); attribute = mnl_attr_next(attribute)) {
    if (mnl_attr_get_type(attribute) == IFLA_IFNAME && mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) >= 0)
      name = mnl_attr_get_str(attribute);
    if (mnl_attr_get_type(attribute) == IFLA_MTU && mnl_attr_validate(attribute, MNL_TYPE_U32) >= 0)
      mtu = mnl_attr_get_u32(attribute);
  }
  if (index_ == 0 ? name != name_ : link.ifi_index != index_) return;
  if (message.nlmsg_type == RTM_DELLINK) {
    lost_ = true;
    return;
  }
  index_ = link.ifi_index;
  state_.up = (link.ifi_flags & IFF_UP) != 0;
  state_.mtu = mtu;
}

// Deleted, or in another namespace by now.
void TunWatch::look_for_it() {
  if (!attach()) lost_ = false;  // no descriptors: what was known has to do until the next notification
}

Result<RouteWatch> RouteWatch::open() {
  auto fd = open_netlink(RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR);
  if (!fd) return fd.error();
  return RouteWatch(*fd);
}

RouteWatch::RouteWatch(RouteWatch&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

RouteWatch::~RouteWatch() {
  if (fd_ >= 0) close(fd_);
}

void RouteWatch::drain() noexcept {
  std::array<char, 32768> buffer;
  ssize_t size;
  do {
    size = recv(fd_, buffer.data(), buffer.size(), MSG_DONTWAIT);
  } while (size > 0 || (size < 0 && errno == ENOBUFS));
}

}  // namespace sluice
