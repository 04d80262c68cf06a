// An altered initiation is accepted if and only if nothing that the handshake covers was altered.
#include "tests/fuzz/handshake_pair.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  static const test::HandshakePair pair;
  const InitiationMessage& genuine = pair.initiation.message;
  const InitiationMessage message = test::altered(genuine, data, size);
  const bool intact =
      test::same_bytes(message, genuine, offsetof(InitiationMessage, ephemeral), offsetof(InitiationMessage, mac1));

  auto claimed = decrypt_initiation_static(pair.responder, message);
  if (!claimed) {
    test::require(!intact);
    return 0;
  }
  test::require(claimed->static_key == pair.initiator.public_key);
  const auto received = finish_initiation(std::move(*claimed), pair.initiator_seen, message);
  test::require(bool(received) == intact);
  if (received) test::require(received->remote_index == message.sender_index.host());
  return 0;
}
