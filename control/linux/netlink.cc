#include "control/linux/netlink.h"

#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>

namespace sluice {
namespace {

constexpr unsigned kGroups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE |
                             RTMGRP_IPV6_ROUTE | RTMGRP_NEIGH | RTMGRP_IPV4_RULE;
constexpr int kMoreGroups[] = {RTNLGRP_IPV6_RULE, RTNLGRP_NEXTHOP};  // they have no bit
constexpr int kReceiveBuffer = 8 << 20;                              // about 30,000 notifications before an overrun
constexpr timeval kAnswerTimeout{1, 0};  // the answer is there when send() returns; this is for a kernel gone wrong
constexpr int kDatagramsPerTurn = 64;    // bounds receive()

// ---- reading -------------------------------------------------------------------------------------------------------

Family family_of(unsigned char af) {
  return af == AF_INET ? Family::kIpv4 : af == AF_INET6 ? Family::kIpv6 : Family::kNone;
}

IpAddress address_from(Family family, const void* bytes, size_t size) {
  if (family == Family::kIpv4 && size >= 4) return IpAddress::ipv4(bytes);
  if (family == Family::kIpv6 && size >= 16) return IpAddress::ipv6(bytes);
  return {};
}

// The attributes of a message or of another attribute, by type. Lengths are checked where a value is read.
class Attributes {
 public:
  Attributes(const nlmsghdr& message, size_t header_size)
      : Attributes(mnl_nlmsg_get_payload_offset(&message, header_size),
                   payload_size(message) - std::min<size_t>(MNL_ALIGN(header_size), payload_size(message))) {}
  Attributes(const void* payload, size_t size) {
    const auto* end = static_cast<const char*>(payload) + size;
    const auto* attribute = static_cast<const nlattr*>(payload);
    const auto left = [&] { return static_cast<int>(end - reinterpret_cast<const char*>(attribute)); };
    for (; mnl_attr_ok(attribute, left()); attribute = mnl_attr_next(attribute)) {
      const uint16_t type = mnl_attr_get_type(attribute);
      if (type < kTypes) by_type_[type] = attribute;
    }
  }

  const nlattr* operator[](size_t type) const { return by_type_[type]; }
  std::span<const std::byte> bytes(size_t type) const {
    const nlattr* a = by_type_[type];
    if (a == nullptr) return {};
    return {static_cast<const std::byte*>(mnl_attr_get_payload(a)), mnl_attr_get_payload_len(a)};
  }
  std::optional<uint32_t> u32(size_t type) const {
    const auto b = bytes(type);
    if (b.size() < sizeof(uint32_t)) return std::nullopt;
    uint32_t value;
    std::memcpy(&value, b.data(), sizeof value);
    return value;
  }
  IpAddress address(size_t type, Family family) const {
    const auto b = bytes(type);
    return address_from(family, b.data(), b.size());
  }

 private:
  static size_t payload_size(const nlmsghdr& message) { return mnl_nlmsg_get_payload_len(&message); }
  static constexpr size_t kTypes = 64;  // more than any that is read here
  std::array<const nlattr*, kTypes> by_type_{};
};

// The fixed part of a message; nullptr if the message is shorter.
template <class Header>
const Header* header_of(const nlmsghdr& message) {
  if (mnl_nlmsg_get_payload_len(&message) < sizeof(Header)) return nullptr;
  return static_cast<const Header*>(mnl_nlmsg_get_payload(&message));
}

Mac mac_from(std::span<const std::byte> bytes) {
  Mac mac;
  if (bytes.size() == mac.bytes.size()) std::memcpy(mac.bytes.data(), bytes.data(), bytes.size());
  return mac;
}

void apply_link(const nlmsghdr& message, NetworkModel& model) {
  const auto* header = header_of<ifinfomsg>(message);
  if (header == nullptr || header->ifi_family != AF_UNSPEC) return;  // AF_BRIDGE: about a bridge's port, not the link
  if (message.nlmsg_type == RTM_DELLINK) return model.erase_link(header->ifi_index);
  const Attributes attributes(message, sizeof *header);
  const auto name = attributes.bytes(IFLA_IFNAME);
  const auto mtu = attributes.u32(IFLA_MTU);
  if (name.empty() || !mtu) return;  // an event about something else (wireless)
  const auto* text = reinterpret_cast<const char*>(name.data());
  model.put_link({.index = header->ifi_index,
                  .name = std::string(text, strnlen(text, name.size())),
                  .up = (header->ifi_flags & IFF_UP) != 0,
                  .mtu = *mtu,
                  .mac = mac_from(attributes.bytes(IFLA_ADDRESS))});
}

void apply_address(const nlmsghdr& message, NetworkModel& model) {
  const auto* header = header_of<ifaddrmsg>(message);
  if (header == nullptr) return;
  const Family family = family_of(header->ifa_family);
  const Attributes attributes(message, sizeof *header);
  // On point-to-point links IFA_ADDRESS is the other end's.
  IpAddress own = attributes.address(IFA_LOCAL, family);
  if (own.is_none()) own = attributes.address(IFA_ADDRESS, family);
  if (own.is_none() || header->ifa_prefixlen > own.bits()) return;
  const uint32_t flags = attributes.u32(IFA_FLAGS).value_or(header->ifa_flags);
  const LinkAddress address{.interface = static_cast<int>(header->ifa_index),
                            .address = {own, header->ifa_prefixlen},
                            .host_scope = header->ifa_scope == RT_SCOPE_HOST,
                            .usable = (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED)) == 0};
  if (message.nlmsg_type == RTM_NEWADDR)
    model.put_address(address);
  else
    model.erase_address(address);
}

RouteHop hop_from(int interface, const Attributes& attributes, Family family) {
  RouteHop hop{.interface = interface, .gateway = attributes.address(RTA_GATEWAY, family)};
  const auto via = attributes.bytes(RTA_VIA);
  if (via.size() > offsetof(rtvia, rtvia_addr)) {
    uint16_t af;
    std::memcpy(&af, via.data(), sizeof af);
    const auto address = via.subspan(offsetof(rtvia, rtvia_addr));
    hop.gateway = address_from(family_of(static_cast<unsigned char>(af)), address.data(), address.size());
  }
  return hop;
}

std::vector<RouteHop> multipath_from(std::span<const std::byte> bytes, Family family) {
  std::vector<RouteHop> hops;
  while (bytes.size() >= sizeof(rtnexthop)) {
    rtnexthop hop;
    std::memcpy(&hop, bytes.data(), sizeof hop);
    if (hop.rtnh_len < sizeof hop || hop.rtnh_len > bytes.size()) break;
    const Attributes attributes(bytes.data() + sizeof hop, hop.rtnh_len - sizeof hop);
    hops.push_back(hop_from(hop.rtnh_ifindex, attributes, family));
    hops.back().weight = static_cast<uint16_t>(hop.rtnh_hops + 1);
    bytes = bytes.subspan(std::min<size_t>(RTNH_ALIGN(hop.rtnh_len), bytes.size()));
  }
  return hops;
}

std::optional<Route::Type> route_type_of(unsigned char type) {
  switch (type) {
    case RTN_UNICAST:
      return Route::Type::kUnicast;
    case RTN_LOCAL:
    case RTN_ANYCAST:
      return Route::Type::kLocal;
    case RTN_BROADCAST:
      return Route::Type::kBroadcast;
    case RTN_MULTICAST:
      return Route::Type::kMulticast;
    case RTN_BLACKHOLE:
      return Route::Type::kBlackhole;
    case RTN_UNREACHABLE:
      return Route::Type::kUnreachable;
    case RTN_PROHIBIT:
      return Route::Type::kProhibit;
    default:
      return std::nullopt;
  }
}

std::optional<Route> route_from(const nlmsghdr& message) {
  const auto* header = header_of<rtmsg>(message);
  if (header == nullptr) return std::nullopt;
  const Family family = family_of(header->rtm_family);
  const auto type = route_type_of(header->rtm_type);
  // Routes that depend on more than the destination are none for packets of which nothing else is asked.
  const bool plain = header->rtm_src_len == 0 && header->rtm_tos == 0 && (header->rtm_flags & RTM_F_CLONED) == 0;
  if (family == Family::kNone || !type || !plain) return std::nullopt;

  const Attributes attributes(message, sizeof *header);
  const uint32_t table = attributes.u32(RTA_TABLE).value_or(header->rtm_table);
  IpAddress destination = attributes.address(RTA_DST, family);
  if (destination.is_none()) destination.family = family;  // the default route has none
  if (header->rtm_dst_len > destination.bits()) return std::nullopt;

  Route route{.prefix = Prefix::make(destination, header->rtm_dst_len),
              .table = static_cast<Route::Table>(table),
              .metric = attributes.u32(RTA_PRIORITY).value_or(0),
              .type = *type,
              .preferred_source = attributes.address(RTA_PREFSRC, family)};
  const auto metrics = attributes.bytes(RTA_METRICS);
  route.mtu = Attributes(metrics.data(), metrics.size()).u32(RTAX_MTU).value_or(0);
  if (attributes[RTA_MULTIPATH] != nullptr) {
    route.hops = multipath_from(attributes.bytes(RTA_MULTIPATH), family);
  } else if (const auto oif = attributes.u32(RTA_OIF)) {
    route.hops.push_back(hop_from(static_cast<int>(*oif), attributes, family));
  }
  route.next_hop = attributes.u32(RTA_NH_ID).value_or(0);
  // Encapsulation by Linux (MPLS, SRv6): Linux forwards these itself.
  if (attributes[RTA_ENCAP] != nullptr) route.type = Route::Type::kLocal;
  return route;
}

void apply_route(const nlmsghdr& message, NetworkModel& model) {
  std::optional<Route> route = route_from(message);
  if (!route) return;
  using Insert = NetworkModel::Insert;
  if (message.nlmsg_type == RTM_DELROUTE) return model.erase_route(*route);
  const uint16_t flags = message.nlmsg_flags;
  const bool last = (flags & (NLM_F_MULTI | NLM_F_APPEND)) != 0;  // a dump comes in Linux's order
  model.put_route(std::move(*route), (flags & NLM_F_REPLACE) != 0 ? Insert::kReplace
                                     : last                       ? Insert::kLast
                                                                  : Insert::kFirst);
}

void apply_next_hop(const nlmsghdr& message, NetworkModel& model) {
  const auto* header = header_of<nhmsg>(message);
  if (header == nullptr) return;
  const Attributes attributes(message, sizeof *header);
  const auto id = attributes.u32(NHA_ID);
  if (!id || *id == 0) return;
  if (message.nlmsg_type == RTM_DELNEXTHOP) return model.erase_next_hop(*id);
  NextHopObject object;
  for (auto group = attributes.bytes(NHA_GROUP); group.size() >= sizeof(nexthop_grp);
       group = group.subspan(sizeof(nexthop_grp))) {
    nexthop_grp member;
    std::memcpy(&member, group.data(), sizeof member);
    object.members.push_back({member.id, static_cast<uint16_t>(member.weight + 1)});
  }
  if (const auto oif = attributes.u32(NHA_OIF))
    object.hops.push_back({static_cast<int>(*oif), attributes.address(NHA_GATEWAY, family_of(header->nh_family)), 1});
  model.put_next_hop(*id, std::move(object));
}

Prefix prefix_from(const Attributes& attributes, size_t type, Family family, unsigned length) {
  const IpAddress address = attributes.address(type, family);
  return address.is_none() || length > address.bits() ? Prefix{} : Prefix::make(address, length);
}

void apply_rule(const nlmsghdr& message, NetworkModel& model) {
  const auto* header = header_of<fib_rule_hdr>(message);
  if (header == nullptr || family_of(header->family) == Family::kNone) return;
  const Attributes attributes(message, sizeof *header);
  const Family family = family_of(header->family);
  Rule rule{.family = family,
            .priority = attributes.u32(FRA_PRIORITY).value_or(0),
            .table = static_cast<Route::Table>(attributes.u32(FRA_TABLE).value_or(header->table)),
            .mark = attributes.u32(FRA_FWMARK).value_or(0)};
  rule.mark_mask = attributes.u32(FRA_FWMASK).value_or(rule.mark != 0 ? UINT32_MAX : 0);
  rule.source = prefix_from(attributes, FRA_SRC, family, header->src_len);
  rule.destination = prefix_from(attributes, FRA_DST, family, header->dst_len);
  rule.inverted = (header->flags & FIB_RULE_INVERT) != 0;
  rule.suppressed_length = static_cast<int>(attributes.u32(FRA_SUPPRESS_PREFIXLEN).value_or(UINT32_MAX));
  rule.foreign = header->action != FR_ACT_TO_TBL || header->tos != 0;
  for (const auto asked : {FRA_IIFNAME, FRA_OIFNAME, FRA_TUN_ID, FRA_SUPPRESS_IFGROUP, FRA_L3MDEV, FRA_UID_RANGE,
                           FRA_IP_PROTO, FRA_SPORT_RANGE, FRA_DPORT_RANGE}) {
    const auto value = attributes.bytes(asked);
    const bool any = std::all_of(value.begin(), value.end(), [](std::byte b) { return b == std::byte{0xff}; });
    rule.foreign |= attributes[asked] != nullptr && !(asked == FRA_SUPPRESS_IFGROUP && any);
  }
  if (message.nlmsg_type == RTM_NEWRULE)
    model.put_rule(rule);
  else
    model.erase_rule(rule);
}

Neighbour::State neighbour_state_of(unsigned state) {
  if ((state & (NUD_PERMANENT | NUD_NOARP)) != 0) return Neighbour::State::kPermanent;
  if ((state & (NUD_REACHABLE | NUD_DELAY | NUD_PROBE)) != 0) return Neighbour::State::kReachable;
  if ((state & NUD_STALE) != 0) return Neighbour::State::kStale;
  if ((state & NUD_FAILED) != 0) return Neighbour::State::kFailed;
  return Neighbour::State::kUnresolved;
}

void apply_neighbour(const nlmsghdr& message, NetworkModel& model) {
  const auto* header = header_of<ndmsg>(message);
  if (header == nullptr || (header->ndm_flags & NTF_PROXY) != 0) return;
  const Attributes attributes(message, sizeof *header);
  const IpAddress address = attributes.address(NDA_DST, family_of(header->ndm_family));
  if (address.is_none() || address.is_multicast()) return;
  const NeighbourKey key{address, header->ndm_ifindex};
  if (message.nlmsg_type == RTM_DELNEIGH) return model.erase_neighbour(key);
  const auto mac = attributes.bytes(NDA_LLADDR);
  Neighbour neighbour{.state = neighbour_state_of(header->ndm_state), .mac = mac_from(mac)};
  if (neighbour.is_resolved() && mac.size() != neighbour.mac.bytes.size())
    neighbour.state = Neighbour::State::kUnresolved;
  if (!neighbour.is_resolved()) neighbour.mac = {};
  model.put_neighbour(key, neighbour);
}

// ---- writing -------------------------------------------------------------------------------------------------------

// A request under construction: the fixed part, then attributes. Large enough for every request made here.
template <class Header>
class Request {
 public:
  Request(uint16_t type, uint16_t flags) {
    message_ = mnl_nlmsg_put_header(buffer_.data());
    message_->nlmsg_type = type;
    message_->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
    header = static_cast<Header*>(mnl_nlmsg_put_extra_header(message_, sizeof(Header)));
  }
  void put(uint16_t type, const IpAddress& address) {
    mnl_attr_put(message_, type, address.size(), address.bytes.data());
  }
  void put(uint16_t type, const Mac& mac) { mnl_attr_put(message_, type, mac.bytes.size(), mac.bytes.data()); }
  void put(uint16_t type, uint32_t value) { mnl_attr_put_u32(message_, type, value); }
  void put(uint16_t type, const std::string& text) { mnl_attr_put_strz(message_, type, text.c_str()); }
  void put(uint16_t type, std::span<const std::byte> bytes) {
    mnl_attr_put(message_, type, bytes.size(), bytes.data());
  }
  nlmsghdr& message() { return *message_; }

  Header* header;

 private:
  alignas(nlmsghdr) std::array<std::byte, 512> buffer_{};
  nlmsghdr* message_;
};

unsigned char af_of(const IpAddress& address) { return address.is_ipv4() ? AF_INET : AF_INET6; }

Error failed(const std::string& what, int code) { return {what + ": " + std::strerror(code), code}; }

// Errors that mean there is nothing left to do.
Result<void> unless(Result<void> result, std::initializer_list<int> fine) {
  if (!result && std::find(fine.begin(), fine.end(), result.error().code) != fine.end()) return {};
  return result;
}

Handle<mnl_socket, mnl_socket_close> open_socket(int flags, unsigned groups) {
  Handle<mnl_socket, mnl_socket_close> socket(mnl_socket_open2(NETLINK_ROUTE, flags | SOCK_CLOEXEC));
  if (socket && mnl_socket_bind(socket.get(), groups, MNL_SOCKET_AUTOPID) < 0) socket.reset();
  return socket;
}

std::string describe(const RouteRequest& route) {
  std::string text = "route " + to_string(route.to);
  if (!route.via.is_none()) text += " via " + to_string(route.via);
  if (route.link) text += " dev " + route.link->name;
  return text;
}

// What Linux adds to an error number, in brackets; empty if nothing. `message` is complete.
std::string explanation(const nlmsghdr& message) {
  if ((message.nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
  const auto* error = header_of<nlmsgerr>(message);
  const size_t echoed = (message.nlmsg_flags & NLM_F_CAPPED) != 0 ? sizeof(nlmsghdr) : MNL_ALIGN(error->msg.nlmsg_len);
  const size_t header = offsetof(nlmsgerr, msg) + echoed;
  if (mnl_nlmsg_get_payload_len(&message) < header) return {};
  const Attributes attributes(message, header);
  const auto text = attributes.bytes(NLMSGERR_ATTR_MSG);
  const auto* chars = reinterpret_cast<const char*>(text.data());
  const size_t size = text.empty() ? 0 : strnlen(chars, text.size());
  return size == 0 ? std::string{} : " (" + std::string(chars, size) + ")";
}

}  // namespace

void apply_message(const nlmsghdr& message, NetworkModel& model) {
  switch (message.nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      return apply_link(message, model);
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return apply_address(message, model);
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      return apply_route(message, model);
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
      return apply_neighbour(message, model);
    case RTM_NEWNEXTHOP:
    case RTM_DELNEXTHOP:
      return apply_next_hop(message, model);
    case RTM_NEWRULE:
    case RTM_DELRULE:
      return apply_rule(message, model);
    default:
      return;
  }
}

// ---- listening -----------------------------------------------------------------------------------------------------

Netlink::Netlink(Socket listener, Socket requests) : listener_(std::move(listener)), requests_(std::move(requests)) {}
Netlink::~Netlink() = default;

Result<std::unique_ptr<Netlink>> Netlink::open() {
  Socket listener = open_socket(SOCK_NONBLOCK, kGroups);
  if (!listener) return failed("netlink", errno);
  for (int group : kMoreGroups)  // a kernel without the one has nothing to say about it
    mnl_socket_setsockopt(listener.get(), NETLINK_ADD_MEMBERSHIP, &group, sizeof group);
  Socket requests = open_socket(0, 0);
  if (!requests) return failed("netlink", errno);

  const int listen_fd = mnl_socket_get_fd(listener.get()), request_fd = mnl_socket_get_fd(requests.get());
  if (::setsockopt(listen_fd, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof kReceiveBuffer) < 0) {
    ::setsockopt(listen_fd, SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);  // as far as allowed
  }
  ::setsockopt(request_fd, SOL_SOCKET, SO_RCVTIMEO, &kAnswerTimeout, sizeof kAnswerTimeout);
  int on = 1;  // both only make errors more telling
  mnl_socket_setsockopt(requests.get(), NETLINK_EXT_ACK, &on, sizeof on);
  mnl_socket_setsockopt(requests.get(), NETLINK_CAP_ACK, &on, sizeof on);

  std::unique_ptr<Netlink> netlink(new Netlink(std::move(listener), std::move(requests)));
  if (auto started = netlink->ask_for(Phase::kLinks); !started) return started.error();
  return netlink;
}

int Netlink::fd() const { return mnl_socket_get_fd(listener_.get()); }

// One kind after the other, on the socket that the notifications come by: what Linux says arrives in its order, so the
// last word on anything is the current one.
Result<void> Netlink::ask_for(Phase phase) {
  const auto send = [&](auto request) -> Result<void> {
    request.message().nlmsg_seq = ++dump_sequence_;
    if (mnl_socket_sendto(listener_.get(), &request.message(), request.message().nlmsg_len) < 0) {
      return failed("netlink: asking for what there is", errno);
    }
    return {};
  };
  phase_ = phase;
  switch (phase) {
    case Phase::kLinks:
      return send(Request<ifinfomsg>(RTM_GETLINK, NLM_F_DUMP));
    case Phase::kAddresses:
      return send(Request<ifaddrmsg>(RTM_GETADDR, NLM_F_DUMP));
    case Phase::kNeighbours:
      return send(Request<ndmsg>(RTM_GETNEIGH, NLM_F_DUMP));
    case Phase::kNextHops:
      return send(Request<nhmsg>(RTM_GETNEXTHOP, NLM_F_DUMP));
    case Phase::kRoutes:
      return send(Request<rtmsg>(RTM_GETROUTE, NLM_F_DUMP));
    case Phase::kRules:
      return send(Request<fib_rule_hdr>(RTM_GETRULE, NLM_F_DUMP));
    case Phase::kSettled:
      return {};
  }
  return {};
}

Result<void> Netlink::start_over(NetworkModel& model) {
  lost_ = false;
  ++resyncs_;
  model.begin_resync();
  return ask_for(Phase::kLinks);
}

Result<void> Netlink::receive(NetworkModel& model) {
  if (std::exchange(first_, false)) model.begin_resync();
  for (int i = 0; i < kDatagramsPerTurn; ++i) {
    const ssize_t size = mnl_socket_recvfrom(listener_.get(), buffer_.data(), buffer_.size());
    if (size < 0 && errno == EAGAIN) break;
    if (size < 0 && errno == ENOBUFS) {
      lost_ = true;
    } else if (size < 0 && errno != EINTR) {
      return failed("netlink", errno);
    } else if (size > 0) {
      if (auto handled = handle_datagram({buffer_.data(), static_cast<size_t>(size)}, model); !handled) return handled;
    }
  }
  if (is_settled() && (lost_ || model.is_uncertain())) return start_over(model);
  return {};
}

Result<void> Netlink::handle_datagram(std::span<const std::byte> datagram, NetworkModel& model) {
  const auto* message = reinterpret_cast<const nlmsghdr*>(datagram.data());
  int left = static_cast<int>(datagram.size());
  for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
    const bool of_dump = !is_settled() && message->nlmsg_seq == dump_sequence_ &&
                         message->nlmsg_pid == mnl_socket_get_portid(listener_.get());
    if (of_dump && (message->nlmsg_flags & NLM_F_DUMP_INTR) != 0) lost_ = true;  // changed while it was made
    if (of_dump && (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR)) {
      // Old kernels know nothing of next hop objects, small ones nothing of rules: then there are none.
      const bool optional = phase_ == Phase::kNextHops || phase_ == Phase::kRules;
      if (message->nlmsg_type == NLMSG_ERROR && !optional) lost_ = true;
      if (auto went_on = finish_phase(model); !went_on) return went_on;
    } else {
      apply_message(*message, model);
    }
  }
  return {};
}

Result<void> Netlink::finish_phase(NetworkModel& model) {
  // After an overrun Linux still finishes the dump it is at; only then a new one may start.
  if (lost_) return start_over(model);
  const auto next = static_cast<Phase>(static_cast<int>(phase_) + 1);
  if (next == Phase::kSettled) model.end_resync();
  return ask_for(next);
}

// ---- requests ------------------------------------------------------------------------------------------------------

Result<void> Netlink::request(nlmsghdr& message, const std::string& what) {
  message.nlmsg_flags = static_cast<uint16_t>(message.nlmsg_flags | NLM_F_ACK);
  message.nlmsg_seq = ++request_sequence_;
  if (mnl_socket_sendto(requests_.get(), &message, message.nlmsg_len) < 0) return failed(what, errno);
  alignas(nlmsghdr) std::array<std::byte, 4096> answer;
  for (;;) {
    const ssize_t size = mnl_socket_recvfrom(requests_.get(), answer.data(), answer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return failed(what, errno == EAGAIN ? ETIMEDOUT : errno);
    const auto* reply = reinterpret_cast<const nlmsghdr*>(answer.data());
    if (!mnl_nlmsg_ok(reply, static_cast<int>(size)) || reply->nlmsg_seq != request_sequence_) continue;
    const auto* error = header_of<nlmsgerr>(*reply);
    if (reply->nlmsg_type != NLMSG_ERROR || error == nullptr) continue;
    if (error->error == 0) return {};
    Error e = failed(what, -error->error);
    e.what += explanation(*reply);
    return e;
  }
}

namespace {

// What /proc/sys/net/ipv4/conf/IF/... sets, without needing /proc.
void put_ipv4_setting(nlmsghdr& message, uint16_t setting, uint32_t value) {
  nlattr* by_family = mnl_attr_nest_start(&message, IFLA_AF_SPEC);
  nlattr* ipv4 = mnl_attr_nest_start(&message, AF_INET);
  nlattr* settings = mnl_attr_nest_start(&message, IFLA_INET_CONF);
  mnl_attr_put_u32(&message, setting, value);
  mnl_attr_nest_end(&message, settings);
  mnl_attr_nest_end(&message, ipv4);
  mnl_attr_nest_end(&message, by_family);
}

}  // namespace

Result<void> Netlink::set_link(const LinkName& link, const LinkSettings& settings) {
  Request<ifinfomsg> request(RTM_NEWLINK, 0);
  request.header->ifi_index = link.index;
  std::string what = "interface " + link.name;
  if (settings.mac) {
    request.put(IFLA_ADDRESS, *settings.mac);
    what += ", MAC " + to_string(*settings.mac);
  }
  if (settings.mtu) {
    request.put(IFLA_MTU, *settings.mtu);
    what += ", MTU " + std::to_string(*settings.mtu);
  }
  if (settings.transmit_queue) request.put(IFLA_TXQLEN, *settings.transmit_queue);
  if (settings.name) {
    request.put(IFLA_IFNAME, *settings.name);
    what += ", new name " + *settings.name;
  }
  if (settings.accept_local) put_ipv4_setting(request.message(), IPV4_DEVCONF_ACCEPT_LOCAL, 1);
  if (settings.up) {
    request.header->ifi_change = IFF_UP;
    request.header->ifi_flags = *settings.up ? IFF_UP : 0;
    what += *settings.up ? ", up" : ", down";
  }
  return this->request(request.message(), what);
}

Result<void> Netlink::change_address(uint16_t type, uint16_t flags, const LinkName& link, const InterfaceAddress& own) {
  Request<ifaddrmsg> request(type, flags);
  request.header->ifa_family = af_of(own.address);
  request.header->ifa_prefixlen = own.length;
  request.header->ifa_index = static_cast<uint32_t>(link.index);
  request.put(IFA_LOCAL, own.address);
  request.put(IFA_ADDRESS, own.address);
  if (own.address.is_ipv4() && own.length < 31 && type == RTM_NEWADDR) {
    IpAddress broadcast = own.address;
    for (unsigned bit = own.length; bit < 32; ++bit) broadcast.bytes[bit / 8] |= static_cast<uint8_t>(0x80 >> bit % 8);
    request.put(IFA_BROADCAST, broadcast);
  }
  return this->request(request.message(), "address " + to_string(own) + " on " + link.name);
}

Result<void> Netlink::add_address(const LinkName& link, const InterfaceAddress& address) {
  return unless(change_address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, link, address), {EEXIST});
}

Result<void> Netlink::delete_address(const LinkName& link, const InterfaceAddress& address) {
  return unless(change_address(RTM_DELADDR, 0, link, address), {EADDRNOTAVAIL, ENODEV});
}

Result<void> Netlink::change_route(uint16_t type, uint16_t flags, const RouteRequest& route) {
  Request<rtmsg> request(type, flags);
  const bool adds = type == RTM_NEWROUTE;
  request.header->rtm_family = af_of(route.to.address);
  request.header->rtm_dst_len = route.to.length;
  request.header->rtm_table = RT_TABLE_MAIN;
  request.header->rtm_protocol = adds ? RTPROT_STATIC : RTPROT_UNSPEC;
  const bool on_link = route.via.is_none() && route.to.address.is_ipv4();
  request.header->rtm_scope = !adds ? RT_SCOPE_NOWHERE : on_link ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  request.header->rtm_type = adds ? RTN_UNICAST : RTN_UNSPEC;
  request.put(RTA_DST, route.to.address);
  if (route.link) request.put(RTA_OIF, static_cast<uint32_t>(route.link->index));
  if (route.metric != 0) request.put(RTA_PRIORITY, route.metric);
  if (route.via.family == route.to.address.family) {
    request.put(RTA_GATEWAY, route.via);
  } else if (!route.via.is_none()) {
    std::array<std::byte, 2 + 16> via{};
    const uint16_t af = af_of(route.via);
    std::memcpy(via.data(), &af, sizeof af);
    std::memcpy(via.data() + 2, route.via.bytes.data(), route.via.size());
    request.put(RTA_VIA, std::span<const std::byte>(via).first(2 + route.via.size()));
  }
  return this->request(request.message(), describe(route));
}

Result<void> Netlink::replace_route(const RouteRequest& route) {
  return change_route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route);
}

Result<void> Netlink::delete_route(const RouteRequest& route) {
  return unless(change_route(RTM_DELROUTE, 0, route), {ESRCH, ENODEV});
}

// Linux takes a request without the managed flag as "not managed any more": whoever is managed stays so here.
Result<void> Netlink::use_neighbour(const NeighbourKey& key) {
  Request<ndmsg> request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
  request.header->ndm_family = af_of(key.address);
  request.header->ndm_ifindex = key.interface;
  request.header->ndm_state = NUD_NONE;
  request.header->ndm_flags = NTF_USE;
  request.put(NDA_DST, key.address);
  if (managed_.contains(key)) request.put(NDA_FLAGS_EXT, uint32_t{NTF_EXT_MANAGED});
  return this->request(request.message(),
                       "neighbour " + to_string(key.address) + " on interface " + std::to_string(key.interface));
}

Result<void> Netlink::probe_neighbour(const NeighbourKey& key) { return use_neighbour(key); }

Result<void> Netlink::manage_neighbour(const NeighbourKey& key) {
  managed_.insert(key);
  return use_neighbour(key);
}

Result<void> Netlink::release_neighbour(const NeighbourKey& key) {
  if (managed_.erase(key) == 0) return {};
  return unless(use_neighbour(key), {ENODEV, ENETDOWN});
}

}  // namespace sluice
