#include "tests/bench/remote_peer.h"

#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>

#include "dataplane/crypto/primitives.h"
#include "dataplane/pipeline/packet.h"
#include "dataplane/wire/ip.h"
#include "tests/bench/far_side.h"
#include "tests/bench/frames.h"

namespace sluice::bench {
namespace {

constexpr size_t kHeaders = sizeof(EthernetHeader) + sizeof(Ipv4Header) + sizeof(UdpHeader);

}  // namespace

RemotePeer::RemotePeer(Gateway& gateway, uint32_t number, Rng& rng)
    : gateway_(gateway),
      initiator_(generate_private_key(rng), gateway.tunnel().identity()->public_key, rng),
      endpoint_(Gateway::endpoint_of(number)),
      peer_(&gateway.add_peer(initiator_.public_key(), Prefix::host(Gateway::inner_address_of(number)), endpoint_)) {}

rte_mbuf* RemotePeer::frame_with(ConstBytes message) {
  rte_mbuf* frame = buffers_of(gateway_.dataplane().pool(), 1)[0];
  auto* at = reinterpret_cast<std::byte*>(rte_pktmbuf_append(frame, static_cast<uint16_t>(kHeaders + message.size())));
  write_ethernet(at, kWanMac, kRouterMac);
  std::memcpy(at + kHeaders, message.data(), message.size());
  write_datagram(bytes_of(frame).subspan(sizeof(EthernetHeader)), endpoint_, {wan_address(), kListenPort});
  return frame;
}

rte_mbuf* RemotePeer::initiate() {
  const InitiationMessage message = initiator_.initiate();
  return frame_with(std::as_bytes(std::span(&message, 1)));
}

void RemotePeer::finish(rte_mbuf* frame) {
  const ConstBytes bytes = bytes_of(frame);
  initiator_.finish(bytes.subspan(std::min(bytes.size(), kHeaders)));
}

rte_mbuf* RemotePeer::confirm() { return frame_with(initiator_.keepalive(0)); }

}  // namespace sluice::bench
