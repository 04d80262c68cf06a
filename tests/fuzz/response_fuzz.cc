// An altered response is accepted if and only if nothing that the handshake covers was altered, and the outstanding
// initiation still accepts the genuine one.
#include "tests/fuzz/handshake_pair.h"

namespace {

using namespace sluice;

struct Answered : test::HandshakePair {
  ResponseMessage respond() {
    auto claimed = decrypt_initiation_static(responder, initiation.message);
    auto received = finish_initiation(std::move(*claimed), initiator_seen, initiation.message);
    return create_response(std::move(*received), initiator_seen, psk, 2, rng)->message;
  }
  const ResponseMessage genuine = respond();
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Answered pair;
  const ResponseMessage message = test::altered(pair.genuine, data, size);
  const bool intact = test::same_bytes(message, pair.genuine, offsetof(ResponseMessage, receiver_index),
                                       offsetof(ResponseMessage, mac1));

  const auto keys = consume_response(pair.initiator, pair.psk, pair.initiation.state, message);
  test::require(bool(keys) == intact);
  if (keys) test::require(keys->remote_index == message.sender_index.host());
  test::require(bool(consume_response(pair.initiator, pair.psk, pair.initiation.state, pair.genuine)));
  return 0;
}
