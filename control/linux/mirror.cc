#include "control/linux/mirror.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace sluice {
namespace {

constexpr uint32_t kTransmitQueue = 1000;  // packets Linux holds for us; TAP's own default, as of an Ethernet

std::string why_not_created(const std::string& name, int code) {
  switch (code) {
    case EBUSY:
    case EEXIST:
      return "interface " + name + " exists already: choose another name or remove it (ip link del " + name + ")";
    case EPERM:
      return "interface " + name + ": no permission to create it; needs CAP_NET_ADMIN";
    case EINVAL:
      return "interface " + name + ": not a name Linux accepts for an interface";
    default:
      return "interface " + name + ": " + std::strerror(code);
  }
}

std::string why_not_opened(const std::string& name, int code) {
  const std::string head = "interface " + name + ": /dev/net/tun: " + std::strerror(code);
  if (code == ENOENT || code == ENODEV || code == ENXIO)
    return head + "; load the module (modprobe tun) or pass the device in";
  if (code == EACCES || code == EPERM) return head + "; needs read and write permission for it";
  return head;
}

// The descriptor of a new interface, which exists and is down.
Result<int> create_interface(const std::string& name, short kind) {
  if (name.empty() || name.size() >= IFNAMSIZ) {
    return Error{"interface \"" + name + "\": a name has 1 to " + std::to_string(IFNAMSIZ - 1) + " characters", EINVAL};
  }
  if (name.find('%') != std::string::npos) return Error{why_not_created(name, EINVAL), EINVAL};  // a pattern to Linux
  // Without this a driver of a physical interface would answer EBUSY or EINVAL just as a bad name does.
  if (if_nametoindex(name.c_str()) != 0) return Error{why_not_created(name, EEXIST), EEXIST};
  const int fd = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return Error{why_not_opened(name, errno), errno};
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = static_cast<short>(kind | IFF_NO_PI | IFF_TUN_EXCL);
  if (::ioctl(fd, TUNSETIFF, &request) < 0) {
    const int code = errno;
    ::close(fd);
    return Error{why_not_created(name, code), code};
  }
  return fd;
}

}  // namespace

Result<Mirror> Mirror::create(Netlink& netlink, const std::string& name, short kind,
                              const Netlink::LinkSettings& settings) {
  const Result<int> fd = create_interface(name, kind);
  if (!fd) return fd.error();
  Mirror mirror(*fd, {static_cast<int>(if_nametoindex(name.c_str())), name});
  if (const auto set = netlink.set_link(mirror.link_, settings); !set) return set.error();
  return mirror;
}

Result<Mirror> Mirror::create_port(Netlink& netlink, const std::string& name, const Mac& mac, uint32_t mtu) {
  return create(netlink, name, IFF_TAP, {.mac = mac, .mtu = mtu, .transmit_queue = kTransmitQueue});
}

Result<Mirror> Mirror::create_tunnel(Netlink& netlink, const std::string& name, uint32_t mtu) {
  return create(netlink, name, IFF_TUN, {.mtu = mtu, .transmit_queue = kTransmitQueue, .accept_local = true});
}

Mirror::Mirror(Mirror&& other) noexcept : fd_(std::exchange(other.fd_, -1)), link_(std::move(other.link_)) {}

Mirror& Mirror::operator=(Mirror&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(link_, other.link_);
  return *this;
}

Mirror::~Mirror() {
  if (fd_ >= 0) ::close(fd_);
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
