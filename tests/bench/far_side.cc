#include "tests/bench/far_side.h"

#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "dataplane/crypto/primitives.h"
#include "dataplane/crypto/select.h"
#include "dataplane/pipeline/context.h"
#include "dataplane/wire/ip.h"
#include "tests/bench/frames.h"
#include "tests/bench/samples.h"

namespace sluice::bench {
namespace {

constexpr uint16_t kTunnelMtu = 1420;
constexpr size_t kEthernetSize = sizeof(EthernetHeader);
constexpr size_t kDatagramHeaders = sizeof(Ipv4Header) + sizeof(UdpHeader);
constexpr size_t kTextInFrame = kEthernetSize + kDatagramHeaders + sizeof(DataHeader);
constexpr uint16_t kNearPort = 40000, kFarPort = 5001;

MemoryPort& entry(Gateway& gateway, Direction direction) {
  return direction == Direction::kOutbound ? gateway.lan() : gateway.wan();
}
MemoryPort& exit(Gateway& gateway, Direction direction) {
  return direction == Direction::kOutbound ? gateway.wan() : gateway.lan();
}

[[noreturn]] void fail(Gateway& gateway, const std::string& what) {
  const std::string drops = gateway.new_drops();
  throw std::runtime_error(what + (drops.empty() ? "" : "; dropped: " + drops));
}

void mark_checksums_good(rte_mbuf* m) { m->ol_flags |= RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD; }

}  // namespace

std::vector<rte_mbuf*> buffers_of(rte_mempool* pool, size_t count) {
  std::vector<rte_mbuf*> buffers(count);
  if (rte_pktmbuf_alloc_bulk(pool, buffers.data(), static_cast<unsigned>(count)) != 0)
    throw std::runtime_error("the packet pool is exhausted");
  return buffers;
}

FarSide::FarSide(Gateway& gateway) : gateway_(gateway), engine_(make_engine(gateway.dataplane().engine_name())) {}

void FarSide::write_inner(std::byte* at, const Conversation& packet, Direction direction) {
  std::memcpy(at + kDatagramHeaders, &++sequence_, sizeof sequence_);
  const Endpoint near{packet.near, kNearPort}, far{packet.far, kFarPort};
  direction == Direction::kOutbound ? write_datagram({at, packet.size}, near, far)
                                    : write_datagram({at, packet.size}, far, near);
}

void FarSide::prepare(Direction direction, std::span<const Conversation> burst) {
  entry(gateway_, direction).prepare(make_frames(direction, burst));
}

std::vector<rte_mbuf*> FarSide::make_frames(Direction direction, std::span<const Conversation> burst) {
  std::vector<rte_mbuf*> frames = buffers_of(gateway_.dataplane().pool(), burst.size());
  for (size_t i = 0; i < burst.size(); ++i) {
    const size_t size = burst[i].size, padded = padded_size(size, kTunnelMtu);
    const bool outbound = direction == Direction::kOutbound;
    const size_t frame_size = outbound ? kEthernetSize + size : kTextInFrame + padded + kTagSize;
    auto* at = reinterpret_cast<std::byte*>(rte_pktmbuf_append(frames[i], static_cast<uint16_t>(frame_size)));
    outbound ? write_ethernet(at, kLanMac, kHostMac) : write_ethernet(at, kWanMac, kRouterMac);
    std::byte* inner = at + (outbound ? kEthernetSize : kTextInFrame);
    write_inner(inner, burst[i], direction);
    if (!outbound) std::memset(inner + size, 0, padded - size);
    if (gateway_.wan().offloads().rx_l4_checksum) mark_checksums_good(frames[i]);
  }
  if (direction == Direction::kInbound) seal(frames, burst);
  return frames;
}

void FarSide::seal(std::span<rte_mbuf*> frames, std::span<const Conversation> burst) {
  std::vector<SealJob> jobs;
  for (size_t i = 0; i < burst.size(); ++i) {
    Session& session = *burst[i].session;
    const Bytes text = bytes_of(frames[i]).subspan(kTextInFrame, padded_size(burst[i].size, kTunnelMtu));
    auto& header = *reinterpret_cast<DataHeader*>(text.data() - sizeof(DataHeader));
    header.type = static_cast<uint32_t>(MessageType::kData);
    header.receiver_index = session.index;
    header.counter = session.counter;
    jobs.push_back({&session.send_key, session.counter++, text, text.data() + text.size()});
  }
  const std::span<SealJob> all(jobs);
  for (size_t done = 0; done < all.size(); done += AeadEngine::kMaxBurst)
    engine_->seal(all.subspan(done, std::min(AeadEngine::kMaxBurst, all.size() - done)));
  for (size_t i = 0; i < burst.size(); ++i)
    write_datagram(bytes_of(frames[i]).subspan(kEthernetSize), burst[i].session->endpoint,
                   {wan_address(), kListenPort});
}

// Of a transmitted frame. Behind an inner packet that came out of a tunnel its padding and tag still stand.
Bytes FarSide::text_of(rte_mbuf* frame, Direction direction, size_t size) const {
  const size_t offset = direction == Direction::kOutbound ? kTextInFrame : kEthernetSize;
  return {rte_pktmbuf_mtod_offset(frame, std::byte*, offset), padded_size(size, kTunnelMtu)};
}

double FarSide::cipher_time(Direction direction, std::span<const Conversation> burst) {
  std::vector<SealJob> seal;
  std::vector<OpenJob> open;
  const auto frames = exit(gateway_, direction).transmitted();
  for (size_t i = 0; i < burst.size(); ++i) {
    const Session& session = *burst[i].session;
    const Bytes text = text_of(frames[i], direction, burst[i].size);
    const Secret<32>* key = direction == Direction::kOutbound ? &session.receive_key : &session.send_key;
    seal.push_back({key, i, text, text.data() + text.size()});
    open.push_back({key, i, text, text.data() + text.size()});
  }
  // In bursts as the worker has them.
  const auto in_bursts = [](auto jobs, auto call) {
    for (; !jobs.empty(); jobs = jobs.subspan(std::min<size_t>(kBurst, jobs.size())))
      call(jobs.first(std::min<size_t>(kBurst, jobs.size())));
  };
  const auto seal_all = [&] { in_bursts(std::span(seal), [&](auto jobs) { engine_->seal(jobs); }); };
  if (direction == Direction::kOutbound) return time_ns(seal_all);
  seal_all();
  return time_ns([&] { in_bursts(std::span(open), [&](auto jobs) { engine_->open(jobs); }); });
}

void FarSide::verify(Direction direction, std::span<const Conversation> burst, size_t lost) {
  const auto frames = exit(gateway_, direction).transmitted();
  if (frames.size() + lost != burst.size())
    fail(gateway_, std::to_string(burst.size()) + " packets in, " + std::to_string(frames.size()) + " out");
  const uint64_t first = sequence_ - burst.size() + 1;
  uint64_t next = first;
  for (rte_mbuf* frame : frames) {
    const uint64_t sequence = verify(direction, burst, first, frame);
    if (sequence < next) fail(gateway_, "packets came out twice or out of order");
    next = sequence + 1;
  }
}

// One frame; burst[0] has the sequence number `first`. Returns the frame's.
uint64_t FarSide::verify(Direction direction, std::span<const Conversation> burst, uint64_t first, rte_mbuf* frame) {
  const bool outbound = direction == Direction::kOutbound;
  const size_t length = rte_pktmbuf_data_len(frame);
  const Bytes text = outbound ? bytes_of(frame).subspan(kTextInFrame, length - kTextInFrame - kTagSize)
                              : bytes_of(frame).subspan(kEthernetSize);
  if (outbound) {
    const auto& header = *reinterpret_cast<const DataHeader*>(text.data() - sizeof(DataHeader));
    const uint32_t index = header.receiver_index.host();
    const auto owner = std::ranges::find(burst, index, [](const Conversation& c) { return c.session->remote_index; });
    const Bytes sealed(text.data(), text.size() + kTagSize);
    if (owner == burst.end() || !aead_open(owner->session->receive_key, header.counter.host(), sealed, {}, text))
      fail(gateway_, "a packet came out that its peer cannot open");
  }
  uint64_t sequence = 0;
  std::memcpy(&sequence, text.data() + kDatagramHeaders, sizeof sequence);
  if (sequence < first || sequence - first >= burst.size()) fail(gateway_, "a packet came out that never went in");
  const Conversation& packet = burst[sequence - first];
  const auto& ip = *reinterpret_cast<const Ipv4Header*>(text.data());
  const IpAddress& to = outbound ? packet.far : packet.near;
  const bool right_place = std::memcmp(&ip.destination, to.bytes.data(), sizeof ip.destination) == 0;
  if (!right_place || ip.total_length.host() != packet.size) fail(gateway_, "a packet came out changed");
  return sequence;
}

void FarSide::free_transmitted() {
  gateway_.wan().free_transmitted();
  gateway_.lan().free_transmitted();
}

}  // namespace sluice::bench
