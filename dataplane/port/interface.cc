#include "dataplane/port/interface.h"

#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace sluice {
namespace {

class ControlSocket {
 public:
  ControlSocket() : fd_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {}
  ~ControlSocket() {
    if (fd_ >= 0) close(fd_);
  }
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;
  int ask(unsigned long request, ifreq& about) const { return ioctl(fd_, request, &about) == 0 ? 0 : errno; }

 private:
  int fd_;
};

Error refused(const std::string& what, int error) {
  std::string text = what + ": " + std::strerror(error);
  if (error == EPERM || error == EACCES) text += "; run it as root or with CAP_NET_ADMIN and CAP_NET_RAW";
  return Error{text, error};
}

int domain_of(int fd) {
  int domain = -1;
  socklen_t size = sizeof domain;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 ? domain : -1;
}

bool receives_from(int fd, unsigned interface_index) {
  const int domain = domain_of(fd);
  if (domain == AF_XDP) return true;  // does not tell its interface
  if (domain != AF_PACKET) return false;
  sockaddr_ll bound{};
  socklen_t size = sizeof bound;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) != 0) return false;
  return bound.sll_ifindex == static_cast<int>(interface_index);
}

// Addresses other than link-local ones; /proc/net/if_inet6: address, index, prefix length, scope, flags, name.
bool has_ipv6_addresses(const std::string& interface) {
  std::ifstream addresses("/proc/net/if_inet6");
  std::string address, index, length, scope, flags, name;
  while (addresses >> address >> index >> length >> scope >> flags >> name) {
    constexpr const char* kLinkLocal = "20";
    if (name == interface && scope != kLinkLocal) return true;
  }
  return false;
}

}  // namespace

Result<unsigned> prepare_interface(const std::string& interface, uint16_t mtu) {
  const unsigned index = if_nametoindex(interface.c_str());
  if (index == 0) return Error{"no interface " + interface + "; `ip link` lists what there is", ENODEV};
  if (const int raw = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); raw >= 0) {
    close(raw);
  } else {
    return refused("frames of interface " + interface, errno);
  }

  const ControlSocket control;
  ifreq request{};
  interface.copy(request.ifr_name, IFNAMSIZ - 1);
  if (const int error = control.ask(SIOCGIFMTU, request)) return refused("mtu of interface " + interface, error);
  if (request.ifr_mtu < mtu) {
    const std::string was = std::to_string(request.ifr_mtu);
    request.ifr_mtu = mtu;
    if (const int error = control.ask(SIOCSIFMTU, request)) {
      return refused("interface " + interface + " has mtu " + was + " and cannot be given " + std::to_string(mtu),
                     error);
    }
  }
  if (const int error = control.ask(SIOCGIFFLAGS, request)) return refused("interface " + interface, error);
  if ((request.ifr_flags & IFF_UP) == 0) {
    request.ifr_flags |= IFF_UP;
    if (const int error = control.ask(SIOCSIFFLAGS, request)) {
      return refused("interface " + interface + " is down and cannot be set up", error);
    }
  }
  return index;
}

bool has_carrier(const std::string& interface) {
  ifreq request{};
  interface.copy(request.ifr_name, IFNAMSIZ - 1);
  constexpr int kWanted = IFF_UP | IFF_RUNNING;
  return ControlSocket().ask(SIOCGIFFLAGS, request) == 0 && (request.ifr_flags & kWanted) == kWanted;
}

SilencedInterface::SilencedInterface(const std::string& interface) {
  set("/proc/sys/net/ipv4/conf/" + interface + "/rp_filter", "1");
  if (!has_ipv6_addresses(interface)) set("/proc/sys/net/ipv6/conf/" + interface + "/disable_ipv6", "1");
}

SilencedInterface::~SilencedInterface() {
  for (const auto& [path, value] : before_) std::ofstream(path) << value;
}

void SilencedInterface::set(const std::string& path, const std::string& value) {
  std::string was;
  if (!(std::ifstream(path) >> was) || was == value) return;
  if (std::ofstream(path) << value << std::flush) before_.emplace_back(path, was);
}

std::vector<int> frame_sockets(unsigned interface_index) {
  std::vector<int> sockets;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const std::string name = entry.path().filename();
    int fd = -1;
    std::from_chars(name.data(), name.data() + name.size(), fd);
    if (fd >= 0 && receives_from(fd, interface_index)) sockets.push_back(fd);
  }
  std::sort(sockets.begin(), sockets.end());  // the kernel gives the lowest free number: opened in this order
  return sockets;
}

uint32_t take_missed_frames(int socket) {
  tpacket_stats statistics{};
  socklen_t size = sizeof statistics;
  return getsockopt(socket, SOL_PACKET, PACKET_STATISTICS, &statistics, &size) == 0 ? statistics.tp_drops : 0;
}

}  // namespace sluice
