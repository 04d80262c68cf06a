// What a (broken) kernel might send: messages of every kind the model listens to, into the model, the forwarding table
// and outer routes. The first byte of each message chooses its kind; the fixed part follows; then attributes, each a
// type byte, a length byte and a payload, whose length field sometimes lies. No byte beyond a message may be read, and
// the table that was made in steps must have as many prefixes as one made at once.
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "control/linux/fib_builder.h"
#include "control/linux/netlink.h"
#include "control/linux/outer_routes.h"

namespace sluice {
namespace {

class Reader {
 public:
  explicit Reader(std::span<const uint8_t> input) : rest_(input) {}
  bool empty() const { return rest_.empty(); }
  uint8_t byte() { return take(1)[0]; }
  std::vector<uint8_t> take(size_t n) {  // zeros when there is no more
    const auto head = rest_.first(std::min(n, rest_.size()));
    rest_ = rest_.subspan(head.size());
    std::vector<uint8_t> bytes(head.begin(), head.end());
    bytes.resize(n);
    return bytes;
  }

 private:
  std::span<const uint8_t> rest_;
};

struct Kind {
  uint16_t type;
  size_t header_size;
};
constexpr std::array<Kind, 12> kKinds{{{RTM_NEWLINK, sizeof(ifinfomsg)},
                                       {RTM_DELLINK, sizeof(ifinfomsg)},
                                       {RTM_NEWADDR, sizeof(ifaddrmsg)},
                                       {RTM_DELADDR, sizeof(ifaddrmsg)},
                                       {RTM_NEWROUTE, sizeof(rtmsg)},
                                       {RTM_DELROUTE, sizeof(rtmsg)},
                                       {RTM_NEWNEIGH, sizeof(ndmsg)},
                                       {RTM_DELNEIGH, sizeof(ndmsg)},
                                       {RTM_NEWNEXTHOP, sizeof(nhmsg)},
                                       {RTM_DELNEXTHOP, sizeof(nhmsg)},
                                       {RTM_NEWRULE, sizeof(fib_rule_hdr)},
                                       {RTM_DELRULE, sizeof(fib_rule_hdr)}}};

std::vector<uint8_t> message_from(Reader& input) {
  const uint8_t choice = input.byte();
  const Kind kind = kKinds[choice % kKinds.size()];
  std::vector<uint8_t> message(sizeof(nlmsghdr));
  const size_t header_size = (choice & 0x80) != 0 ? choice % 16 : kind.header_size;
  const auto header = input.take(header_size);
  message.insert(message.end(), header.begin(), header.end());
  if (choice & 0x40 && header_size > 0) message[sizeof(nlmsghdr)] = (choice & 0x20) != 0 ? AF_INET6 : AF_INET;
  for (int attributes = choice % 7; attributes > 0 && !input.empty(); --attributes) {
    const uint8_t type = input.byte(), size = input.byte() % 40;
    const auto length = static_cast<uint16_t>(sizeof(nlattr) + size + ((type & 0x80) != 0 ? input.byte() : 0));
    const nlattr attribute{.nla_len = length, .nla_type = static_cast<uint16_t>(type & 0x3f)};
    const auto* raw = reinterpret_cast<const uint8_t*>(&attribute);
    message.resize((message.size() + 3) & ~size_t{3});
    message.insert(message.end(), raw, raw + sizeof attribute);
    const auto payload = input.take(size);
    message.insert(message.end(), payload.begin(), payload.end());
  }
  const nlmsghdr head{.nlmsg_len = static_cast<uint32_t>(message.size()),
                      .nlmsg_type = kind.type,
                      .nlmsg_flags = static_cast<uint16_t>((choice & 0x10) != 0 ? NLM_F_REPLACE : NLM_F_APPEND),
                      .nlmsg_seq = 0,
                      .nlmsg_pid = 0};
  std::memcpy(message.data(), &head, sizeof head);
  return message;
}

void run(std::span<const uint8_t> bytes) {
  Reader input(bytes);
  NetworkModel model;
  FibBuilder builder;
  const OwnInterfaces own{.ports = {{0, PortId(0)}, {1, PortId(1)}}, .tunnels = {{2, TunnelId(0)}}};
  builder.update(model, own, {});
  for (int messages = 0; messages < 32 && !input.empty(); ++messages) {
    const std::vector<uint8_t> message = message_from(input);
    const std::unique_ptr<uint8_t[]> exact(new uint8_t[message.size()]);  // its end is the sanitizer's
    std::memcpy(exact.get(), message.data(), message.size());
    apply_message(*reinterpret_cast<const nlmsghdr*>(exact.get()), model);
    builder.update(model, own, model.take_changes());
    builder.take_garbage();
  }
  for (const auto& [key, neighbour] : model.neighbours()) {
    resolve_outer(model, own, {.remote = {.address = key.address, .port = 1}, .cached_local = {}, .listen_port = 1});
  }
  FibBuilder fresh;
  fresh.update(model, own, {});
  if (fresh.prefixes() != builder.prefixes() || fresh.next_hops() != builder.next_hops()) {
    std::fprintf(stderr, "tables differ: %zu and %zu prefixes\n", fresh.prefixes(), builder.prefixes());
    std::abort();
  }
}

}  // namespace
}  // namespace sluice

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::run({data, size});
  return 0;
}
