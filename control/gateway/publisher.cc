#include "control/gateway/publisher.h"

#include <memory>
#include <span>

#include "dataplane/wire/ip.h"

namespace sluice {
namespace {

// Whose the frames on each cable are.
void sort_vlans(std::span<Port* const> ports, std::vector<PortView>& views) {
  for (const Port* port : ports) {
    if (port->vlan() == 0) continue;
    PortView& cable = views[(port->parent() != kNoPort ? port->parent() : port->id()).value];
    if (cable.by_vlan.empty()) {
      cable.by_vlan.assign(VlanTag::kVlanMask + 1, kNoPort);
      if (ports[cable.id.value]->vlan() == 0) cable.by_vlan[0] = cable.id;
    }
    cable.by_vlan[port->vlan()] = port->id();
  }
}

}  // namespace

void Publisher::set_fib(const Fib& fib, std::function<void()> free_old) {
  fib_ = fib;
  changed_ = true;
  if (free_old) free_old_.push_back(std::move(free_old));
}

void Publisher::set_ports_with_ipv4(std::set<PortId> ports) {
  if (ports_with_ipv4_ == ports) return;
  ports_with_ipv4_ = std::move(ports);
  changed_ = true;
}

bool Publisher::publish_if_changed() {
  if (!changed_ && !wireguard_.dirty()) return false;
  auto root = std::make_unique<Published>();
  root->fib = fib_;
  for (const auto& tunnel : wireguard_.tunnels()) {
    root->tunnels.push_back(tunnel->view());
    if (tunnel->up() && tunnel->listen_port() != 0) root->add_listen_port(tunnel->listen_port());
  }
  for (Port* port : dataplane_.ports()) {
    const size_t i = root->ports.size();
    const ReversePath reverse_path = i < reverse_paths_.size() ? reverse_paths_[i] : ReversePath::kAny;
    PortView view{port->id(), port->mac(), port->mtu()};
    view.reverse_path = reverse_path;
    view.has_ipv4 = !ports_with_ipv4_ || ports_with_ipv4_->contains(port->id());
    view.arrivals = port->arrivals();
    root->ports.push_back(view);
    root->checks_reverse_path |= reverse_path != ReversePath::kAny;
    root->awaits_leases |= !view.has_ipv4;
  }
  sort_vlans(dataplane_.ports(), root->ports);
  for (const TunnelView& tunnel : root->tunnels)
    if (tunnel.inner_port != kNoPort) root->ports[tunnel.inner_port.value].tunnel = tunnel.id;
  dataplane_.publish(std::move(root));

  // Only now may the grace periods of what the old root reaches begin.
  changed_ = false;
  wireguard_.published();
  for (auto& free_it : free_old_) dataplane_.retire(std::move(free_it));
  free_old_.clear();
  return true;
}

}  // namespace sluice
