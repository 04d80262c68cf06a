#include "control/linux/mirror.h"

#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "control/linux/tun_device.h"

namespace sluice {
namespace {

constexpr uint32_t kTransmitQueue = 1000;  // packets Linux holds for us; TAP's own default, as of an Ethernet

}  // namespace

Result<Mirror> Mirror::create(Netlink& netlink, const std::string& name, short kind,
                              const Netlink::LinkSettings& settings) {
  const Result<int> fd = create_tun_device(name, kind);
  if (!fd) return fd.error();
  Mirror mirror(*fd, {static_cast<int>(if_nametoindex(name.c_str())), name}, settings.mac.value_or(Mac{}));
  if (const auto set = netlink.set_link(mirror.link_, settings); !set) return set.error();
  return mirror;
}

Result<Mirror> Mirror::create_port(Netlink& netlink, const std::string& name, const Mac& mac, uint32_t mtu) {
  return create(netlink, name, IFF_TAP, {.mac = mac, .mtu = mtu, .transmit_queue = kTransmitQueue});
}

Result<Mirror> Mirror::create_tunnel(Netlink& netlink, const std::string& name, uint32_t mtu) {
  return create(netlink, name, IFF_TUN, {.mtu = mtu, .transmit_queue = kTransmitQueue, .accept_local = true});
}

Mirror::Mirror(Mirror&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), link_(std::move(other.link_)), mac_(other.mac_) {}

Mirror& Mirror::operator=(Mirror&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(link_, other.link_);
  std::swap(mac_, other.mac_);
  return *this;
}

Mirror::~Mirror() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> Mirror::set_carrier(bool on) {
  const int carrier = on;
  if (::ioctl(fd_, TUNSETCARRIER, &carrier) == 0) return {};
  const int code = errno;
  return Error{"interface " + link_.name + ": carrier cannot be set: " + std::strerror(code), code};
}

std::optional<size_t> Mirror::read(Bytes buffer) noexcept {
  const ssize_t n = ::read(fd_, buffer.data(), buffer.size());
  if (n <= 0) return std::nullopt;
  return static_cast<size_t>(n);
}

bool Mirror::write(ConstBytes packet) noexcept {
  return ::write(fd_, packet.data(), packet.size()) == static_cast<ssize_t>(packet.size());
}

}  // namespace sluice
