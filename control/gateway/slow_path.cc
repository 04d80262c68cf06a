#include "control/gateway/slow_path.h"

#include <rte_mbuf.h>
#include <sys/epoll.h>

#include <cstring>

#include "dataplane/pipeline/packet.h"
#include "dataplane/wire/ip.h"

namespace sluice {
namespace {

constexpr unsigned kPuntsPerTurn = 256;
constexpr unsigned kReadsPerWakeup = 64;  // of one mirror, so that a flood of Linux's own does not hold up the turn

std::optional<IcmpError> icmp_error_of(PuntReason reason) {
  switch (reason) {
    case PuntReason::kTtlExceeded:
      return IcmpError::kTimeExceeded;
    case PuntReason::kNoRoute:
      return IcmpError::kNoRoute;
    case PuntReason::kProhibited:
      return IcmpError::kProhibited;
    case PuntReason::kTooBig:
      return IcmpError::kTooBig;
    case PuntReason::kNoPeer:
    case PuntReason::kNoEndpoint:
      return IcmpError::kHostUnreachable;
    default:
      return std::nullopt;
  }
}

// An Ethernet frame of Linux's, which does not know that it leaves in a VLAN.
void tag(rte_mbuf* frame, uint16_t vlan) {
  rte_pktmbuf_prepend(frame, sizeof(VlanTag));
  tag_frame(bytes_of(frame), vlan);
}

}  // namespace

void SlowPath::FreeMbuf::operator()(rte_mbuf* packet) const noexcept { rte_pktmbuf_free(packet); }

SlowPath::SlowPath(Parts parts)
    : dataplane_(parts.dataplane),
      wireguard_(parts.wireguard),
      network_(parts.network),
      loop_(parts.loop),
      clock_(parts.clock),
      drops_(parts.drops) {}

SlowPath::~SlowPath() {
  for (int fd : watched_) loop_.remove(fd);
}

// --- workers to Linux ---

bool SlowPath::drain_punts() {
  bool more = false;
  for (uint8_t w = 0; w < dataplane_.worker_count(); ++w) {
    rte_mbuf* packets[kPuntsPerTurn];
    const unsigned n = dataplane_.mailbox(WorkerId{w}).take_punts(packets, kPuntsPerTurn);
    for (unsigned i = 0; i < n; ++i) on_punt(Packet(packets[i]));
    more |= n == kPuntsPerTurn;
  }
  return more;
}

void SlowPath::on_punt(Packet packet) {
  const PacketMeta& about = meta(packet.get());
  if (about.punt == PuntReason::kLocal && wireguard_.overhear(about, bytes_of(packet.get()).subspan(about.l2_size)))
    return;
  if (about.punt == PuntReason::kLocal || about.punt == PuntReason::kLinux) return to_linux(std::move(packet));
  if (about.punt == PuntReason::kResolve) return hold(std::move(packet));
  if (const auto error = icmp_error_of(about.punt)) send_icmp_error(std::move(packet), *error, about.mtu);
}

void SlowPath::to_linux(Packet packet) {
  const PacketMeta& about = meta(packet.get());
  Mirror* mirror = about.from.in_port != kNoPort ? network_.port_mirror(about.from.in_port)
                                                 : network_.tunnel_mirror(about.from.tunnel);
  if (!mirror || !mirror->write(bytes_of(packet.get()))) drops_.add(Drop::mirror_write);
}

void SlowPath::hold(Packet packet) {
  const auto neighbour = network_.neighbour_towards(bytes_of(packet.get()));
  if (!neighbour) {  // the route has gone in the meantime
    drops_.add(Drop::no_route);
    return;
  }
  const Neighbour* known = network_.model().neighbour(*neighbour);
  if (known && known->is_resolved()) {
    const PacketMeta about = meta(packet.get());
    return route(std::move(packet), about);
  }
  auto held = waiting_.hold(*neighbour, std::move(packet), clock_.now());
  if (held.dropped) drops_.add(Drop::neighbour_unresolved);
  if (held.ask) network_.ask_for(*neighbour);
}

void SlowPath::on_neighbours_changed(const ModelChanges& changes) {
  for (const NeighbourKey& key : changes.neighbours) {
    const Neighbour* neighbour = network_.model().neighbour(key);
    if (!neighbour || neighbour->state == Neighbour::State::kUnresolved) continue;
    for (Packet& packet : waiting_.take(key)) {
      if (neighbour->is_resolved()) {
        const PacketMeta about = meta(packet.get());
        route(std::move(packet), about);
      } else {
        drops_.add(Drop::neighbour_unresolved);
        send_icmp_error(std::move(packet), IcmpError::kHostUnreachable, 0);
      }
    }
  }
}

void SlowPath::expire(MonoTime now) {
  for (auto& given_up : waiting_.expire(now)) {
    for (Packet& packet : given_up.packets) {
      drops_.add(Drop::neighbour_unresolved);
      send_icmp_error(std::move(packet), IcmpError::kHostUnreachable, 0);
    }
  }
}

// --- what control sends ---

void SlowPath::send_icmp_error(Packet offending, IcmpError error, uint16_t mtu) {
  if (!icmp_limit_.take(clock_.now())) return;
  const ConstBytes packet = bytes_of(offending.get());
  const auto message = make_icmp_error(packet, {error, mtu, network_.source_towards(source_of(packet))});
  if (!message) return;
  Packet answer(rte_pktmbuf_alloc(dataplane_.pool()));
  char* bytes = answer ? rte_pktmbuf_append(answer.get(), static_cast<uint16_t>(message->size())) : nullptr;
  if (!bytes) return drops_.add(Drop::no_buffer);
  std::memcpy(bytes, message->data(), message->size());
  route(std::move(answer), meta(offending.get()));
}

// `about`: where the packet, or the one it answers, came from. The gateway's own sockets get their answers by that
// tunnel.
void SlowPath::route(Packet packet, const PacketMeta& about) {
  Command command{};
  command.kind = CommandKind::kRoute;
  command.tunnel = about.from.tunnel;
  post(about.from.worker, command, std::move(packet));
}

void SlowPath::post(WorkerId worker, Command command, Packet packet) {
  command.packet = packet.get();
  if (dataplane_.mailbox(worker).post_command(command))
    (void)packet.release();
  else
    drops_.add(Drop::inbox_full);
}

// --- Linux to workers ---

void SlowPath::watch(PortId port, Mirror& mirror) {
  Command command{};
  command.kind = CommandKind::kTransmit;
  command.port = port;
  watched_.push_back(mirror.fd());
  loop_.add(mirror.fd(), EPOLLIN, [this, &mirror, command](uint32_t) { read_mirror(mirror, command); });
}

void SlowPath::watch(TunnelId tunnel, Mirror& mirror) {
  Command command{};
  command.kind = CommandKind::kTunnel;
  command.tunnel = tunnel;
  watched_.push_back(mirror.fd());
  loop_.add(mirror.fd(), EPOLLIN, [this, &mirror, command](uint32_t) { read_mirror(mirror, command); });
}

// One interface's packets go through one worker, so that they keep their order.
void SlowPath::read_mirror(Mirror& mirror, Command command) {
  const bool is_port = command.kind == CommandKind::kTransmit;
  const uint16_t vlan = is_port ? dataplane_.ports()[command.port.value]->vlan() : uint16_t{0};
  const auto interface = command.kind == CommandKind::kTransmit ? command.port.value : command.tunnel.value;
  const WorkerId worker{static_cast<uint8_t>(interface % dataplane_.worker_count())};
  for (unsigned i = 0; i < kReadsPerWakeup; ++i) {
    Packet packet(rte_pktmbuf_alloc(dataplane_.pool()));
    if (!packet) return drops_.add(Drop::no_buffer);  // what Linux sent stays in its queue
    const size_t room = rte_pktmbuf_tailroom(packet.get());
    const auto size = mirror.read({rte_pktmbuf_mtod(packet.get(), std::byte*), room});
    if (!size) return;
    rte_pktmbuf_append(packet.get(), static_cast<uint16_t>(*size));
    if (vlan != 0) tag(packet.get(), vlan);
    post(worker, command, std::move(packet));
  }
}

}  // namespace sluice
