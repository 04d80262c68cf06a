#include "config/model.h"

#include <array>

namespace sluice::config {

bool Origin::has(std::string_view key) const {
  for (const Field& field : fields_)
    if (field.key == key) return true;
  return false;
}

Position Origin::of(std::string_view key, uint32_t index) const {
  Position nearest = table_;
  for (const Field& field : fields_) {
    if (field.key != key) continue;
    if (field.index == index) return field.at;
    if (field.index == kWhole) nearest = field.at;
  }
  return nearest;
}

std::string_view name_of(DeviceKind kind) {
  static constexpr std::array<std::string_view, kDeviceKinds> kNames{
      "pci", "af_packet", "af_xdp", "memif", "vhost", "virtio_user", "tap", "ring", "pcap", "null", "dpdk"};
  return kNames.at(static_cast<size_t>(kind));
}

std::string to_string(const Device& device) {
  if (device.kind == DeviceKind::kDpdk) return device.argument;
  if (device.kind == DeviceKind::kNull) return "null";
  return std::string(name_of(device.kind)) + ":" + device.argument;
}

std::string_view kernel_interface(const Device& device) {
  if (device.kind != DeviceKind::kAfPacket && device.kind != DeviceKind::kAfXdp) return {};
  return device.argument;
}

std::string to_string(const Route& route) {
  std::string text = sluice::to_string(route.to);
  if (route.via) text += " via " + sluice::to_string(*route.via);
  if (!route.dev.empty()) text += " dev " + route.dev;
  return text;
}

std::string to_string(const HostPort& endpoint) {
  const bool ipv6 = endpoint.host.find(':') != std::string::npos;
  return (ipv6 ? "[" + endpoint.host + "]" : endpoint.host) + ":" + std::to_string(endpoint.port);
}

}  // namespace sluice::config
