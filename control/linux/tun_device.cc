#include "control/linux/tun_device.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace sluice {
namespace {

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

Result<int> open_tun(const std::string& name, short flags) {
  const int fd = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return Error{why_not_opened(name, errno), errno};
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = static_cast<short>(flags | IFF_NO_PI);
  if (::ioctl(fd, TUNSETIFF, &request) < 0) {
    const int code = errno;
    ::close(fd);
    return Error{why_not_created(name, code), code};
  }
  return fd;
}

}  // namespace

Result<int> create_tun_device(const std::string& name, short flags) {
  if (name.empty() || name.size() >= IFNAMSIZ) {
    return Error{"interface \"" + name + "\": a name has 1 to " + std::to_string(IFNAMSIZ - 1) + " characters", EINVAL};
  }
  if (name.find('%') != std::string::npos) return Error{why_not_created(name, EINVAL), EINVAL};  // a pattern to Linux
  // Without this a driver of a physical interface would answer EBUSY or EINVAL just as a bad name does.
  if (if_nametoindex(name.c_str()) != 0) return Error{why_not_created(name, EEXIST), EEXIST};
  return open_tun(name, static_cast<short>(flags | IFF_TUN_EXCL));
}

Result<int> attach_tun_queue(const std::string& name, short flags) { return open_tun(name, flags); }

}  // namespace sluice
