// An altered cookie reply is accepted if and only if nothing that it authenticates was altered.
#include "tests/fuzz/handshake_pair.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  static test::HandshakePair pair;
  static CookieIssuer issuer(pair.rng);
  const MonoTime now = pair.clock.now();
  InitiationMessage message = pair.initiation.message;
  CookieJar jar;
  jar.add_macs(std::as_writable_bytes(std::span(&message, 1)), pair.responder_seen, now);
  static const CookieReplyMessage genuine = issuer.make_reply(pair.responder, std::as_bytes(std::span(&message, 1)),
                                                              {*parse_address("192.0.2.1"), 1, 0}, now);

  const CookieReplyMessage reply = test::altered(genuine, data, size);
  const bool intact = test::same_bytes(reply, genuine, offsetof(CookieReplyMessage, nonce), sizeof genuine);
  test::require(!jar.consume(reply, pair.responder_seen, now).has_value() == intact);
  return 0;
}
