#include "tests/bench/remote_peer.h"

#include <rte_mbuf.h>

#include <cstring>
#include <stdexcept>

#include "dataplane/crypto/primitives.h"
#include "dataplane/pipeline/packet.h"
#include "dataplane/wire/ip.h"
#include "tests/bench/far_side.h"
#include "tests/bench/frames.h"

namespace sluice::bench {
namespace {

constexpr size_t kHeaders = sizeof(EthernetHeader) + sizeof(Ipv4Header) + sizeof(UdpHeader);
const PresharedKey kNoPresharedKey;

}  // namespace

RemotePeer::RemotePeer(Gateway& gateway, uint32_t number, Rng& rng)
    : gateway_(gateway),
      rng_(rng),
      own_(LocalIdentity::make(generate_private_key(rng)).value()),
      remote_(RemoteIdentity::make(own_, gateway.tunnel().identity()->public_key)),
      endpoint_(Gateway::endpoint_of(number)),
      peer_(&gateway.add_peer(own_.public_key, Prefix::host(Gateway::inner_address_of(number)), endpoint_)),
      stamp_(SystemClock().wall()) {}

rte_mbuf* RemotePeer::frame_with(ConstBytes message) {
  rte_mbuf* frame = buffers_of(gateway_.dataplane().pool(), 1)[0];
  auto* at = reinterpret_cast<std::byte*>(rte_pktmbuf_append(frame, static_cast<uint16_t>(kHeaders + message.size())));
  write_ethernet(at, kWanMac, kRouterMac);
  std::memcpy(at + kHeaders, message.data(), message.size());
  write_datagram(bytes_of(frame).subspan(sizeof(EthernetHeader)), endpoint_, {wan_address(), kListenPort});
  return frame;
}

rte_mbuf* RemotePeer::initiate() {
  ++stamp_.seconds;  // newer than the one before, however short ago that was
  auto created = create_initiation(own_, remote_, rng_.next_u32(), Tai64n::whitened(stamp_), rng_);
  if (!created) throw std::runtime_error("an initiation could not be made");
  cookies_.add_macs(std::as_writable_bytes(std::span(&created->message, 1)), remote_, SystemClock().now());
  sent_.emplace(std::move(created->state));
  return frame_with(std::as_bytes(std::span(&created->message, 1)));
}

void RemotePeer::finish(rte_mbuf* frame) {
  const ConstBytes bytes = bytes_of(frame);
  ResponseMessage response;
  if (bytes.size() != kHeaders + sizeof response) throw std::runtime_error("not a response");
  std::memcpy(&response, bytes.data() + kHeaders, sizeof response);
  auto keys = consume_response(own_, kNoPresharedKey, *sent_, response);
  if (!keys) throw std::runtime_error("a response that its initiator does not take");
  keys_.emplace(std::move(*keys));
}

rte_mbuf* RemotePeer::confirm() {
  std::array<std::byte, kDataOverhead> message;
  auto& header = *reinterpret_cast<DataHeader*>(message.data());
  header.type = static_cast<uint32_t>(MessageType::kData);
  header.receiver_index = keys_->remote_index;
  header.counter = 0;
  aead_seal(keys_->sending, uint64_t{0}, {}, {}, Bytes(message).last(kTagSize));
  return frame_with(message);
}

}  // namespace sluice::bench
