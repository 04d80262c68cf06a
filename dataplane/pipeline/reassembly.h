// Puts UDP datagrams to the gateway back together when they arrive in fragments (DPDK's rte_ip_frag under a bound and
// with names for what it drops). Overlaps never make a packet: the library tiles a datagram from its fragments without
// gap or overlap, or discards all of them (RFC 5722). The slow way in; whole packets never come here. One worker's
// thread only: NICs hash all fragments of a packet to one queue, by their addresses.
#pragma once

#include <cstdint>
#include <memory>

#include "dataplane/base/clock.h"
#include "dataplane/base/handle.h"
#include "dataplane/pipeline/drop.h"

struct rte_mbuf;
struct rte_ip_frag_tbl;
struct rte_ip_frag_death_row;
extern "C" void rte_ip_frag_table_destroy(rte_ip_frag_tbl*);

namespace sluice {

class Reassembly {
 public:
  // Fragments of one packet travel together; who waits longer keeps room from others. (RFC 8200 allows up to 60 s.)
  static constexpr Nanoseconds kTimeout = std::chrono::seconds(1);
  static constexpr uint32_t kMaxPackets = 512;  // incomplete ones
  static constexpr unsigned kMaxFragments = 8;  // of one packet: the library's limit

  // `max_held`: packet buffers that may wait here, all packets together. `drops` outlives it.
  Reassembly(uint32_t max_held, DropCounters& drops);
  ~Reassembly();  // frees what waits
  Reassembly(const Reassembly&) = delete;
  Reassembly& operator=(const Reassembly&) = delete;

  // A fragment with rte_pktmbuf_mtod at its IP header and meta.l2_size bytes of link-layer header in front. The whole
  // packet in one segment, described by the last fragment's PacketMeta, checksums not verified; nullptr: it waits for
  // others, or was dropped: fragment_malformed, fragment_refused (it and those that waited), fragments_full,
  // frame_too_long (the whole has no room in a buffer).
  rte_mbuf* add(rte_mbuf* fragment, MonoTime now) noexcept;
  // Drops fragment_timeout.
  void expire(MonoTime now) noexcept;
  bool empty() const noexcept { return held_ == 0; }

 private:
  rte_mbuf* finish(rte_mbuf* chain) noexcept;
  void bury(Drop reason) noexcept;

  Handle<rte_ip_frag_tbl, rte_ip_frag_table_destroy> table_;
  std::unique_ptr<rte_ip_frag_death_row> dead_;  // what the library gives up, until we have counted it
  uint32_t max_held_;
  uint32_t held_ = 0;
  DropCounters& drops_;
};

// A fragment of a larger packet (of IPv6: with the fragment header first).
bool is_fragment(rte_mbuf* packet) noexcept;

}  // namespace sluice
