#include "dataplane/port/device.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "dataplane/port/frame_size.h"

namespace sluice {
namespace {

constexpr std::string_view kForms =
    "pci:ADDRESS, af_packet:INTERFACE, af_xdp:INTERFACE, tap:NAME, memif:SOCKET,role=client|server, vhost:SOCKET, "
    "virtio_user:SOCKET, ring:NAME, pcap:IN,OUT, null, or the name of a DPDK device (net_...)";

struct Parts {
  std::string before, after;  // of the first separator; `after` is empty without one
};
Parts split(const std::string& text, char separator) {
  const size_t at = text.find(separator);
  if (at == text.npos) return {text, ""};
  return {text.substr(0, at), text.substr(at + 1)};
}

bool is_pci_address(std::string_view text) {
  constexpr std::string_view kPattern = "hhhh:hh:hh.o";
  return text.size() == kPattern.size() && std::equal(text.begin(), text.end(), kPattern.begin(), [](char c, char p) {
           if (p == 'h') return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
           if (p == 'o') return c >= '0' && c <= '7';
           return c == p;
         });
}

Device kernel_device(const std::string& driver, const std::string& interface) {
  return {.driver = driver, .library = driver, .arguments = "iface=" + interface, .interface = interface};
}

Result<Device> parse_memif(const std::string& argument) {
  const auto [socket, options] = split(argument, ',');
  Device device{.driver = "net_memif", .library = "net_memif"};
  device.arguments = "socket=" + socket + ",socket-abstract=no";
  if (!options.empty()) device.arguments += ',' + options;
  const bool client = options.find("role=client") != options.npos;
  (client ? device.connects_to : device.listens_at) = socket;
  if (!client && options.find("role=server") == options.npos) device.arguments += ",role=server";
  return device;
}

Device parse_pcap(const std::string& argument) {
  const auto [in, out] = split(argument, ',');
  Device device{.driver = "net_pcap", .library = "net_pcap"};
  if (!in.empty()) device.arguments = "rx_pcap=" + in;
  if (!out.empty()) device.arguments += (in.empty() ? "tx_pcap=" : ",tx_pcap=") + out;
  return device;
}

bool has_argument(const std::string& arguments, const std::string& key) {
  return (',' + arguments).find(',' + key + '=') != std::string::npos;
}

}  // namespace

Result<Device> parse_device(const std::string& text) {
  const auto [kind, argument] = split(text, ':');
  // Like /dev/null: takes everything, yields nothing (the driver would rather yield empty frames at full speed).
  if (text == "null") return Device{.driver = "net_null", .library = "net_null", .arguments = "no-rx=1"};
  if (kind.starts_with("net_")) {
    const std::string name = split(kind, ',').before;
    const std::string driver = name.substr(0, name.find_last_not_of("0123456789") + 1);
    return Device{.driver = driver, .library = driver, .name = name, .arguments = split(text, ',').after};
  }
  if (argument.empty()) return Error{"\"" + text + "\" is no device; there are " + std::string(kForms)};

  using Queues = Device::QueuesArgument;
  if (kind == "pci") {
    if (is_pci_address(argument)) return Device{.pci = argument};
    return Error{"\"" + argument + "\" is no PCI address; `lspci -D` shows them as 0000:3b:00.0"};
  }
  if (kind == "af_packet") {
    Device device = kernel_device("net_af_packet", argument);
    device.queues = Queues::kQpairs;
    return device;
  }
  if (kind == "af_xdp") return kernel_device("net_af_xdp", argument);
  if (kind == "tap") return Device{.driver = "net_tap", .library = "net_tap", .arguments = "iface=" + argument};
  if (kind == "memif") return parse_memif(argument);
  if (kind == "vhost") {
    const auto [socket, options] = split(argument, ',');
    return Device{.driver = "net_vhost",
                  .library = "net_vhost",
                  .arguments = "iface=" + argument,
                  .listens_at = options.find("client=1") == options.npos ? socket : "",
                  .queues = Queues::kQueues};
  }
  if (kind == "virtio_user") {
    const auto [socket, options] = split(argument, ',');
    return Device{.driver = "net_virtio_user",
                  .library = "net_virtio",
                  .arguments = "path=" + argument,
                  .connects_to = options.find("server=1") == options.npos ? socket : "",
                  .interrupts = false,
                  .queues = Queues::kQueues};
  }
  if (kind == "ring") return Device{.driver = "net_ring", .library = "net_ring", .name = "net_ring_" + argument};
  if (kind == "pcap") return parse_pcap(argument);
  return Error{"\"" + text + "\" is no device; there are " + std::string(kForms)};
}

std::string port_arguments(const Device& device, uint16_t workers, uint16_t mtu, std::string_view devargs) {
  std::string arguments = device.arguments;
  const auto add = [&](const std::string& argument) { arguments += (arguments.empty() ? "" : ",") + argument; };
  if (device.queues == Device::QueuesArgument::kQpairs) add("qpairs=" + std::to_string(workers));
  if (device.queues == Device::QueuesArgument::kQueues) add("queues=" + std::to_string(workers));
  if (device.driver == "net_af_packet") {
    // The driver's default ring loses half of the traffic. Blocks are whole pages and hold whole frames.
    const unsigned frame = frame_room(mtu);
    const bool usual = frame == 2048;
    add("framesz=" + std::to_string(frame) + ",blocksz=" + std::to_string(usual ? 65536 : 4 * frame) +
        ",framecnt=" + std::to_string(usual ? 2048 : 512));
  }
  if (device.driver == "net_virtio_user") {
    // Rings of 256 are the driver's default. Packed ones (virtio 1.1) touch fewer lines that both sides write; a peer
    // that has none gets others. No frame takes several buffers (frame_size.h), so that none has to be read for how
    // many it takes. An argument that comes twice is none to this driver.
    const std::string given = arguments + ',' + std::string(devargs);
    for (const auto& [key, value] : {std::pair{"queue_size", kDescriptors}, std::pair{"packed_vq", uint16_t{1}},
                                     std::pair{"mrg_rxbuf", uint16_t{0}}})
      if (!has_argument(given, key)) add(std::string(key) + '=' + std::to_string(value));
  }
  if (!devargs.empty()) add(std::string(devargs));
  return arguments;
}

}  // namespace sluice
