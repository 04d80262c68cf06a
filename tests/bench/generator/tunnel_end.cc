#include "tests/bench/generator/tunnel_end.h"

#include <rte_mbuf.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>

#include "dataplane/pipeline/packet.h"
#include "dataplane/wire/ip.h"
#include "tests/bench/generator/site.h"
#include "tests/bench/samples.h"

namespace sluice::bench {
namespace {

constexpr int kAttempts = 20;
constexpr auto kAnswerTime = std::chrono::milliseconds(500);
constexpr int64_t kSessionTime = 60'000'000'000;  // ns; one is good for two minutes

// A late answer to an earlier initiation is none.
bool answers(ConstBytes message, const InitiationMessage& initiation) {
  if (classify(message) != MessageType::kResponse) return false;
  const auto& response = *reinterpret_cast<const ResponseMessage*>(message.data());
  return response.receiver_index.host() == initiation.sender_index.host();
}

static_assert(TunnelEnd::kMessageInFrame == sizeof(EthernetHeader) + sizeof(Ipv4Header) + sizeof(UdpHeader));

}  // namespace

void write_outer_headers(Bytes frame) {
  write_ethernet(frame.data(), kGatewayWan, kFarEnd);
  write_datagram(frame.subspan(sizeof(EthernetHeader)), far_endpoint(), gateway_endpoint());
}

TunnelEnd::TunnelEnd(Port& wan, rte_mempool* pool, Initiator& initiator)
    : wan_(wan), pool_(pool), initiator_(initiator) {}

void TunnelEnd::transmit(ConstBytes message) {
  rte_mbuf* frame = rte_pktmbuf_alloc(pool_);
  if (frame == nullptr) throw std::runtime_error("the packet pool is exhausted");
  char* at = rte_pktmbuf_append(frame, static_cast<uint16_t>(kMessageInFrame + message.size()));
  std::memcpy(at + kMessageInFrame, message.data(), message.size());
  write_outer_headers(bytes_of(frame));
  if (wan_.transmit(0, &frame, 1) != 1) rte_pktmbuf_free(frame);  // the other side is not there yet
}

bool TunnelEnd::handshake() {
  const InitiationMessage initiation = initiator_.initiate();
  transmit(std::as_bytes(std::span(&initiation, 1)));
  const auto deadline = SteadyClock::now() + kAnswerTime;
  while (SteadyClock::now() < deadline) {
    rte_mbuf* frame = nullptr;
    if (wan_.receive(0, &frame, 1) == 0) continue;
    const ConstBytes bytes = bytes_of(frame);
    const ConstBytes message = bytes.subspan(std::min(bytes.size(), kMessageInFrame));
    const bool answer = answers(message, initiation);
    if (answer) initiator_.finish(message);
    rte_pktmbuf_free(frame);
    if (answer) return true;
  }
  return false;
}

void TunnelEnd::keep_session() {
  if (connected_ && SystemClock().now().ns - since_.ns < kSessionTime) return;
  for (int attempt = 0; !handshake(); ++attempt)
    if (attempt == kAttempts) throw std::runtime_error("the gateway answers no handshake");
  since_ = SystemClock().now();
  connected_ = true;
  counter_ = 0;
  send_keepalive();
}

void TunnelEnd::send_keepalive() { transmit(initiator_.keepalive(next_counter())); }

}  // namespace sluice::bench
