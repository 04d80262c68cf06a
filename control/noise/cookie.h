// mac1, mac2 and cookies, the protocol's shield against floods (WireGuard paper, sections 5.3, 5.4.4 and 5.4.7):
// whoever is under load answers with a cookie that only the true owner of a source address receives, and works only for
// messages that carry a mac2 made with it. Control thread only.
//
// `message` is always a whole initiation or response of the right length (classify() of wire/messages.h); the macs are
// its last 32 bytes.
#pragma once

#include <optional>

#include "control/noise/identity.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/net.h"
#include "dataplane/base/random.h"
#include "dataplane/wire/limits.h"
#include "dataplane/wire/messages.h"

namespace sluice {

// The sender knows our public key. Constant time.
bool has_valid_mac1(const LocalIdentity& local, ConstBytes message) noexcept;

// --- The issuing side
// --------------------------------------------------------------------------------------------------

// Cookies are MAC(secret, source address and port), so that no state is kept per source. The secret is replaced when it
// is older than 120 s at the moment it is needed, without grace for the old one. One issuer may serve several tunnels:
// the reply is sealed under the tunnel's own key.
class CookieIssuer {
 public:
  explicit CookieIssuer(Rng& rng) noexcept : rng_(rng) {}  // rng outlives the issuer

  // The sender holds the cookie of its source address and port. Constant time.
  bool has_valid_mac2(ConstBytes message, const Endpoint& source, MonoTime now) noexcept;

  // The answer to a message with a valid mac1. It is sealed with that mac1 as additional data, so that only the sender
  // of the message (and who saw it pass) can open it.
  CookieReplyMessage make_reply(const LocalIdentity& local, ConstBytes message, const Endpoint& source,
                                MonoTime now) noexcept;

 private:
  Secret<16> cookie_of(const Endpoint& source, MonoTime now) noexcept;

  Rng& rng_;
  Secret<32> secret_;
  MonoTime secret_born_;
};

// --- The using side
// ----------------------------------------------------------------------------------------------------

enum class CookieError : uint8_t {
  kUnexpected,  // nothing sent that is still open to a cookie reply: one reply per message sent
  kForged,      // not sealed by this peer for the last message sent
};

// Per peer: the last cookie received from it. A cookie is used for 115 s, 5 s less than its issuer honours it.
class CookieJar {
 public:
  // Completes a message to `remote`: mac1, and mac2 if a cookie is at hand, else zeros. Call for every initiation and
  // response just before it is sent; remembers the mac1 for the reply that may come.
  void add_macs(Bytes message, const RemoteIdentity& remote, MonoTime now) noexcept;

  // nullopt: the cookie is stored and will be used from the next message on (nothing is sent at once). Touches no
  // timer, endpoint or counter of the peer: a cookie reply proves next to nothing.
  std::optional<CookieError> consume(const CookieReplyMessage& reply, const RemoteIdentity& remote,
                                     MonoTime now) noexcept;

 private:
  Secret<16> cookie_;
  MonoTime received_at_;            // never: no cookie
  std::optional<Mac16> last_mac1_;  // of the last message sent, until a reply to it was accepted
};

}  // namespace sluice
