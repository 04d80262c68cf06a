#include "tests/bench/generator/stream.h"

#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "dataplane/base/random.h"
#include "dataplane/pipeline/packet.h"
#include "dataplane/wire/ip.h"
#include "tests/bench/frames.h"

namespace sluice::bench {
namespace {

constexpr size_t kEthernetSize = sizeof(EthernetHeader);
constexpr size_t kTextInFrame = TunnelEnd::kMessageInFrame + sizeof(DataHeader);
constexpr size_t kSequenceAt = sizeof(Ipv4Header) + sizeof(UdpHeader);
constexpr size_t kPayloadAt = kSequenceAt + sizeof(uint64_t);
constexpr size_t kPatterns = 4096;  // different payloads

uint64_t sequence_of(ConstBytes packet) {
  uint64_t sequence;
  std::memcpy(&sequence, packet.data() + kSequenceAt, sizeof sequence);
  return sequence;
}

// What a router does to a packet (RFC 1812, section 5.3.1).
void forward(Bytes packet) {
  auto& ip = *reinterpret_cast<Ipv4Header*>(packet.data());
  --ip.ttl;
  ip.checksum = be16(0);
  ip.checksum = be16(ipv4_header_checksum(ip));
}

}  // namespace

Stream::Stream(Direction direction, Traffic traffic, TunnelEnd& end, AeadEngine& engine, rte_mempool* pool)
    : direction_(direction),
      traffic_(std::move(traffic)),
      end_(end),
      engine_(engine),
      pool_(pool),
      pattern_(kPatterns + kTunnelMtu),
      expected_(kTunnelMtu) {
  SystemRng().fill(pattern_);
  // Packets of an earlier stream that are still on their way must not be taken for ours.
  next_ = uint64_t{SystemRng().next_u32()} << 32;
}

void Stream::write_inner(Bytes packet, uint64_t sequence) const {
  std::memcpy(packet.data() + kSequenceAt, &sequence, sizeof sequence);
  std::memcpy(packet.data() + kPayloadAt, pattern_.data() + sequence % kPatterns, packet.size() - kPayloadAt);
  const Endpoint near = near_host(sequence);
  const Endpoint far = direction_ == Direction::kPast ? host_past_the_tunnel(sequence / 7) : far_host(sequence / 7);
  direction_ == Direction::kInbound ? write_datagram(packet, far, near) : write_datagram(packet, near, far);
}

std::vector<rte_mbuf*> Stream::prepare(size_t count) {
  std::vector<rte_mbuf*> frames(count);
  if (rte_pktmbuf_alloc_bulk(pool_, frames.data(), static_cast<unsigned>(count)) != 0)
    throw std::runtime_error("the packet pool is exhausted");
  const bool outbound = direction_ != Direction::kInbound;
  first_ = next_;
  for (rte_mbuf* frame : frames) {
    const uint64_t sequence = next_++;
    const size_t size = size_of(sequence), padded = padded_size(size, kTunnelMtu);
    const size_t length = outbound ? kEthernetSize + size : kTextInFrame + padded + kTagSize;
    auto* at = reinterpret_cast<std::byte*>(rte_pktmbuf_append(frame, static_cast<uint16_t>(length)));
    std::byte* inner = at + (outbound ? kEthernetSize : kTextInFrame);
    write_inner({inner, size}, sequence);
    if (outbound) {
      write_ethernet(at, kGatewayLan, kNearHost);
    } else {
      std::memset(inner + size, 0, padded - size);
    }
  }
  if (!outbound) seal(frames);
  return frames;
}

void Stream::seal(std::span<rte_mbuf*> frames) {
  std::vector<SealJob> jobs;
  for (; !frames.empty(); frames = frames.subspan(std::min(frames.size(), AeadEngine::kMaxBurst))) {
    const auto burst = frames.first(std::min(frames.size(), AeadEngine::kMaxBurst));
    jobs.clear();
    for (rte_mbuf* frame : burst) {
      const Bytes sealed = bytes_of(frame).subspan(kTextInFrame);
      const Bytes text = sealed.first(sealed.size() - kTagSize);
      auto& header = *reinterpret_cast<DataHeader*>(text.data() - sizeof(DataHeader));
      header.type = static_cast<uint32_t>(MessageType::kData);
      header.receiver_index = end_.keys().remote_index;
      header.counter = end_.next_counter();
      jobs.push_back({&end_.keys().sending, header.counter.host(), text, text.data() + text.size()});
    }
    engine_.seal(jobs);
    for (rte_mbuf* frame : burst) write_outer_headers(bytes_of(frame));
  }
}

// Data messages of the current session; other messages have other business. One that the key does not open has been
// changed on its way.
std::vector<Stream::Candidate> Stream::open(std::span<const Arrival> arrivals) {
  std::vector<Candidate> candidates;
  std::vector<OpenJob> jobs;
  const auto open_burst = [&] {
    engine_.open(jobs);
    if (!std::ranges::all_of(jobs, &OpenJob::ok)) throw std::runtime_error("a packet came out that cannot be opened");
    jobs.clear();
  };
  for (const Arrival& arrival : arrivals) {
    const Bytes bytes = bytes_of(arrival.frame);
    if (bytes.size() < TunnelEnd::kMessageInFrame) continue;
    const Bytes message = bytes.subspan(TunnelEnd::kMessageInFrame);
    const auto& header = *reinterpret_cast<const DataHeader*>(message.data());
    if (classify(message) != MessageType::kData || header.receiver_index.host() != end_.keys().local_index) continue;
    const Bytes text = message.subspan(sizeof header, message.size() - kDataOverhead);
    jobs.push_back({&end_.keys().receiving, header.counter.host(), text, text.data() + text.size()});
    candidates.push_back({text, arrival.tsc});
    if (jobs.size() == AeadEngine::kMaxBurst) open_burst();
  }
  open_burst();
  return candidates;
}

std::vector<Stream::Candidate> Stream::plain(std::span<const Arrival> arrivals) const {
  std::vector<Candidate> candidates;
  const Mac& receiver = direction_ == Direction::kInbound ? kNearHost : kFarEnd;
  for (const Arrival& arrival : arrivals) {
    const Bytes bytes = bytes_of(arrival.frame);
    if (bytes.size() < kEthernetSize + kPayloadAt) continue;
    const auto& header = *reinterpret_cast<const EthernetHeader*>(bytes.data());
    if (header.destination == receiver.bytes) candidates.push_back({bytes.subspan(kEthernetSize), arrival.tsc});
  }
  return candidates;
}

std::vector<Stream::Delivered> Stream::check(std::span<const Arrival> arrivals) {
  std::vector<Delivered> delivered;
  uint64_t expected = first_;
  for (const Candidate& candidate : direction_ == Direction::kOutbound ? open(arrivals) : plain(arrivals)) {
    if (candidate.packet.size() < kPayloadAt) continue;  // a keepalive
    const uint64_t sequence = sequence_of(candidate.packet);
    if (sequence >> 32 != first_ >> 32 || sequence < first_) continue;  // given up for lost in an earlier trial
    if (sequence >= next_) throw std::runtime_error("a packet came out that never went in");
    if (sequence < expected) throw std::runtime_error("packets came out twice or out of order");
    check_packet(candidate.packet, sequence);
    expected = sequence + 1;
    delivered.push_back({sequence - first_, candidate.tsc});
  }
  for (const Arrival& arrival : arrivals) rte_pktmbuf_free(arrival.frame);
  return delivered;
}

void Stream::check_packet(Bytes packet, uint64_t sequence) {
  const size_t size = size_of(sequence);
  const Bytes expected = Bytes(expected_).first(size);
  write_inner(expected, sequence);
  forward(expected);
  const size_t length = direction_ == Direction::kOutbound ? padded_size(size, kTunnelMtu) : size;
  if (packet.size() != length || std::memcmp(packet.data(), expected.data(), size) != 0)
    throw std::runtime_error("a packet came out changed");
}

}  // namespace sluice::bench
