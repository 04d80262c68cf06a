// How the files of the line (stages.h) hand over to each other, and what several of them need. Not for callers outside
// the pipeline.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include "dataplane/pipeline/context.h"

namespace sluice {

// --- The pieces of the line, in the order a packet travels ---

// WireGuard messages, rte_pktmbuf_mtod at the message: data goes down inbound.cc, handshakes are control's.
struct Messages {
  Burst data, handshakes;

  // `type` is what classify() says of it.
  void add(WorkerContext& context, rte_mbuf* m, MessageType type) noexcept {
    if (type == MessageType::kData) [[likely]] {
      const uint32_t index = rte_pktmbuf_mtod(m, const DataHeader*)->receiver_index.host();
      if (index != last_index_) context.sessions->prefetch(index);  // once a run
      last_index_ = index;
      return data.push(m);
    }
    if (type == MessageType::kInvalid) return context.drop(m, Drop::message_invalid);
    handshakes.push(m);
  }

 private:
  uint32_t last_index_ = 0;
};
void receive_messages(WorkerContext& context, Messages& messages, StageClock& clock) noexcept;

// IP packets that have just arrived, from a port or out of a tunnel: the tables are asked (meta.flow), then the packets
// are for us or forwarded. forward.cc.
void find_flows(WorkerContext& context, Burst& packets, StageClock& clock) noexcept;
void forward_packets(WorkerContext& context, Burst& packets, StageClock& clock) noexcept;

// IP packets that leave by the tunnel meta.from.tunnel, to the peer meta.flow.destination_owner: outbound.cc.
void encapsulate(WorkerContext& context, Burst& packets, StageClock& clock) noexcept;

// Bursts that were spread (spread.h) come back and go on, until at most `leave` are under way.
void finish_seals(WorkerContext& context, unsigned leave, StageClock& clock) noexcept;
void finish_opens(WorkerContext& context, unsigned leave, StageClock& clock) noexcept;

// --- Shared by the pieces ---

// Keeps the packets for which `keep` answers true, in order; the others it has disposed of.
template <class Keep>
void keep_if(Burst& burst, Keep keep) noexcept {
  const unsigned count = burst.count;
  unsigned kept = 0;
  for (unsigned i = 0; i < count; ++i) {
    if (keep(burst.packets[i])) burst.packets[kept++] = burst.packets[i];
  }
  burst.count = kept;
}

// Calls `handle` for each longest stretch of consecutive packets for which `key` gives the same.
template <class Key, class Handle>
void for_each_run(std::span<rte_mbuf*> packets, Key key, Handle handle) noexcept {
  for (size_t begin = 0; begin < packets.size();) {
    const auto first = key(packets[begin]);
    size_t end = begin + 1;
    while (end < packets.size() && key(packets[end]) == first) ++end;
    handle(packets.subspan(begin, end - begin));
    begin = end;
  }
}

// Room for the cipher jobs of a burst, written one by one: an array's members would all be set to zero before.
template <class Job>
class JobRoom {
 public:
  Job* data() noexcept { return reinterpret_cast<Job*>(room_); }
  std::span<Job> first(unsigned n) noexcept { return {data(), n}; }

 private:
  static_assert(std::is_aggregate_v<Job> && std::is_trivially_destructible_v<Job>);  // starts to live without being set
  alignas(Job) std::byte room_[kMaxBurst * sizeof(Job)];
};

// Of an IP packet: rte_pktmbuf_mtod at its IP header.
inline Family family_of(rte_mbuf* m) noexcept { return version_of({rte_pktmbuf_mtod(m, const std::byte*), 1}); }

enum class Side : uint8_t { kSource, kDestination };
inline const void* address_of(rte_mbuf* m, Side side) noexcept {
  const auto* at = rte_pktmbuf_mtod(m, const std::byte*);
  if (version_of({at, 1}) == Family::kIpv4) {
    const auto* ip = reinterpret_cast<const Ipv4Header*>(at);
    return side == Side::kSource ? ip->source.data() : ip->destination.data();
  }
  const auto* ip = reinterpret_cast<const Ipv6Header*>(at);
  return side == Side::kSource ? ip->source.data() : ip->destination.data();
}

// Packets that go to a peer or come from it, where TunnelView::mss_clamp is set: TCP connections start with segments
// that fit the tunnel and the path.
void clamp_segments(const TunnelView& tunnel, const Peer& peer, std::span<rte_mbuf*> packets) noexcept;

inline const TunnelView* tunnel_that_is_up(const Published& published,
                                           TunnelId id) noexcept {  // nullptr: none, or down
  if (id.value >= published.tunnels.size()) return nullptr;
  const TunnelView& tunnel = published.tunnels[id.value];
  return tunnel.up ? &tunnel : nullptr;
}

}  // namespace sluice
