// Every reason for which a packet may be dropped, with the text an operator sees (`sluice drops`). Each worker and
// control count into a table of their own (single writer, relaxed); readers add them up.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

// clang-format off
#define SLUICE_DROP_REASONS(X) \
  /* frames and outer headers */ \
  X(not_for_us,              "frame for another host's MAC address") \
  X(vlan_unknown,            "frame of a VLAN that no port has, or without a tag where every port has one") \
  X(frame_malformed,         "frame too short for its headers, or with a bad IP header") \
  X(frame_truncated,         "IP header claims more bytes than arrived (offloads left on at the sender?)") \
  X(frame_too_long,          "frame longer than one packet buffer") \
  X(ip_checksum,             "bad IPv4 header checksum") \
  X(udp_length,              "UDP length does not fit the packet") \
  X(udp_checksum,            "bad or, over IPv6, missing UDP checksum") \
  X(fragment_malformed,      "fragment with an impossible length or offset") \
  X(fragment_refused,        "fragments of one packet that overlap, or are too many") \
  X(fragment_timeout,        "fragment whose packet did not become whole in time") \
  X(fragments_full,          "fragment while too many packets were incomplete") \
  X(martian_source,          "source address that must not be on the wire") \
  X(reverse_path,            "source to which no route leads, or none through the port it came from") \
  /* messages */ \
  X(message_invalid,         "WireGuard message of unknown type, wrong length or with reserved bits set") \
  X(data_unknown_index,      "data for a receiver index that is not (any more) ours") \
  X(data_key_expired,        "data under a key that is too old or was withdrawn") \
  X(data_authentication,     "data that failed authentication") \
  X(data_replay,             "data with a counter that was seen before, is too old or beyond the limit") \
  X(inner_malformed,         "decrypted packet with a bad IP version or length") \
  X(inner_source,            "decrypted packet whose source is not among the peer's allowed IPs") \
  /* handshake (counted by control) */ \
  X(handshake_ring_full,     "handshake message while the control thread's ring was full") \
  X(handshake_mac1,          "handshake message with a wrong mac1: made for another public key, or corrupt") \
  X(handshake_no_identity,   "handshake message for a tunnel that is down or has no private key") \
  X(handshake_rate_limited,  "handshake message over its source's rate while under load") \
  X(handshake_under_load,    "handshake message answered with a cookie while under load") \
  X(handshake_no_index,      "initiation while no receiver index was free") \
  X(initiation_low_order,    "initiation with a point of low order") \
  X(initiation_static,       "initiation whose static key failed authentication") \
  X(initiation_unknown_peer, "initiation from a public key that is not configured") \
  X(initiation_timestamp,    "initiation whose timestamp failed authentication") \
  X(initiation_replay,       "initiation with a timestamp that is not newer than the last") \
  X(initiation_flood,        "initiation within 20 ms of the peer's last") \
  X(response_unknown_index,  "response that belongs to no handshake in progress") \
  X(response_low_order,      "response with a point of low order") \
  X(response_authentication, "response that failed authentication") \
  X(cookie_unknown_index,    "cookie reply for an index that is not ours") \
  X(cookie_unexpected,       "cookie reply although none was waited for") \
  X(cookie_authentication,   "cookie reply that failed authentication") \
  /* routing */ \
  X(ttl_exceeded,            "TTL or hop limit used up") \
  X(no_route,                "no route to the destination") \
  X(route_blackhole,         "route of type blackhole") \
  X(route_prohibited,        "route of type prohibit") \
  X(neighbour_unresolved,    "next hop does not answer, or too many packets wait for it") \
  X(too_big,                 "packet larger than the next hop's MTU, with DF or over IPv6") \
  X(no_peer,                 "no peer of the tunnel has the destination among its allowed IPs") \
  X(no_endpoint,             "peer without an endpoint") \
  X(no_outer_route,          "no route to the peer's endpoint") \
  X(tunnel_down,             "tunnel is down") \
  X(inner_unroutable,        "packet towards a tunnel with a bad IP version or length") \
  /* queues and buffers */ \
  X(staged_overflow,         "oldest of more than 128 packets that wait for a handshake") \
  X(staged_full,             "no room for more packets that wait for handshakes") \
  X(staged_discarded,        "waited for a handshake that came to nothing, or for a peer that was removed") \
  X(handoff_full,            "the owning worker's ring of this peer was full") \
  X(handoff_stale,           "handed to another worker, but its peer or session had gone") \
  X(spread_stalled,          "worked on by another worker that stalled, while this one was saturated") \
  X(punt_ring_full,          "for the gateway itself, while the control thread's ring was full") \
  X(punt_rate_limited,       "for the gateway itself, over the port's rate") \
  X(mirror_write,            "Linux did not take the packet (mirror interface down or its queue full)") \
  X(inbox_full,              "from the gateway itself, while the worker's ring was full") \
  X(no_buffer,               "no packet buffer left") \
  X(no_headroom,             "packet without room for the outer headers") \
  X(transmit_full,           "the port's transmit queue was full") \
  X(port_gone,               "port that does not exist (any more)")
// clang-format on

enum class Drop : uint8_t {
#define SLUICE_X(name, text) name,
  SLUICE_DROP_REASONS(SLUICE_X)
#undef SLUICE_X
      count_
};
inline constexpr size_t kDropReasons = static_cast<size_t>(Drop::count_);

std::string_view drop_name(Drop reason) noexcept;
std::string_view drop_text(Drop reason) noexcept;

class alignas(64) DropCounters {
 public:
  // The owning thread only: a relaxed load and store, no locked instruction.
  void add(Drop reason, uint64_t n = 1) noexcept {
    auto& c = counts_[static_cast<size_t>(reason)];
    c.store(c.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  uint64_t get(Drop reason) const noexcept {
    return counts_[static_cast<size_t>(reason)].load(std::memory_order_relaxed);
  }

 private:
  std::array<std::atomic<uint64_t>, kDropReasons> counts_{};
};

}  // namespace sluice
