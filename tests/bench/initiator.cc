#include "tests/bench/initiator.h"

#include <cstring>
#include <stdexcept>

#include "dataplane/crypto/primitives.h"

namespace sluice::bench {

Initiator::Initiator(PrivateKey own, const PublicKey& gateway, Rng& rng)
    : rng_(rng),
      own_(LocalIdentity::make(std::move(own)).value()),
      gateway_(RemoteIdentity::make(own_, gateway)),
      stamp_(SystemClock().wall()) {}

InitiationMessage Initiator::initiate() {
  ++stamp_.seconds;
  auto created = create_initiation(own_, gateway_, rng_.next_u32(), Tai64n::whitened(stamp_), rng_);
  if (!created) throw std::runtime_error("an initiation could not be made");
  cookies_.add_macs(std::as_writable_bytes(std::span(&created->message, 1)), gateway_, SystemClock().now());
  sent_.emplace(std::move(created->state));
  return created->message;
}

void Initiator::finish(ConstBytes message) {
  static const PresharedKey kNoPresharedKey;
  ResponseMessage response;
  if (message.size() != sizeof response) throw std::runtime_error("not a response");
  std::memcpy(&response, message.data(), sizeof response);
  auto keys = consume_response(own_, kNoPresharedKey, *sent_, response);
  if (!keys) throw std::runtime_error("a response that its initiator does not take");
  keys_.emplace(std::move(*keys));
}

std::array<std::byte, kDataOverhead> Initiator::keepalive(uint64_t counter) const noexcept {
  std::array<std::byte, kDataOverhead> message;
  auto& header = *reinterpret_cast<DataHeader*>(message.data());
  header.type = static_cast<uint32_t>(MessageType::kData);
  header.receiver_index = keys_->remote_index;
  header.counter = counter;
  aead_seal(keys_->sending, counter, {}, {}, Bytes(message).last(kTagSize));
  return message;
}

}  // namespace sluice::bench
