// The protocol's timers of one peer (WireGuard paper, section 6; Linux's choices where the paper is silent). Pure: time
// stamps, events and randomness in, actions and a deadline out; no timer runs here. Control thread only.
//
// Workers set no timers. They write a few stamps into the shared peer, relaxed and only when a value changes; control
// takes a snapshot and evaluates. Rules for whoever writes the stamps (workers for data, control for handshake
// messages, which are authenticated packets like any other):
//
//   authenticated packet sent       last_sent_any = now; unacknowledged_data_received_since = 0;
//   (initiation, response, data,    need_another_keepalive = false
//   keepalive)
//     ... and it was non-empty data   if (unanswered_data_sent_since == 0) unanswered_data_sent_since = now
//   authenticated packet received   last_received_any = now; unanswered_data_sent_since = 0
//     ... and it was non-empty data   if (unacknowledged_data_received_since == 0) it = now;
//                                     else need_another_keepalive = true
//   cookie replies                  nothing, either way
//
// A lost race between two writers costs at most one keepalive or one initiation more or less.
#pragma once

#include <chrono>

#include "dataplane/base/clock.h"
#include "dataplane/base/random.h"
#include "dataplane/wire/limits.h"

namespace sluice {

// A snapshot of what the workers wrote; 0 is "never" or "none".
struct Stamps {
  MonoTime last_sent_any;                       // any authenticated packet, either kind
  MonoTime last_received_any;                   // likewise
  MonoTime unanswered_data_sent_since;          // first non-empty data sent since the last authenticated receive
  MonoTime unacknowledged_data_received_since;  // first non-empty data received since the last authenticated send
  bool need_another_keepalive = false;          // more data has been received since that first
};

// What is due, in the order in which control does it.
struct TimerActions {
  bool clear_unanswered_data = false;      // store 0 into unanswered_data_sent_since
  bool clear_unacknowledged_data = false;  // store 0 and false into unacknowledged_... and need_another_keepalive
  bool give_up = false;                    // drop the staged packets
  bool zero_keys = false;                  // wipe the handshake slot and all keypairs
  bool forget_cached_source = false;       // of the endpoint: the route may have changed
  bool send_initiation = false;            // then call initiation_sent
  bool send_keepalive = false;  // flush staged packets or else send an empty one; without a key: start_handshake
  MonoTime next_deadline;       // call evaluate again no later than this; never: only after the next event

  bool any() const noexcept {
    return clear_unanswered_data || clear_unacknowledged_data || give_up || zero_keys || forget_cached_source ||
           send_initiation || send_keepalive;
  }
};

// One per peer. After calling any non-const function other than evaluate, call evaluate (or note its deadline as now):
// deadlines move.
class TimerState {
 public:
  // The tunnel comes up: a peer with persistent keepalive is due at once. Nothing is ever due while it is down.
  void start(MonoTime now) noexcept;
  // The tunnel goes down, the peer is removed: all timers and the memory of handshakes sent are dropped.
  void stop() noexcept;

  // 0: off. Going from 0 to n makes a keepalive due at once; from n to m leaves the pending one where it was.
  void set_persistent_keepalive(std::chrono::seconds interval, const Stamps& stamps, MonoTime now) noexcept;

  // A handshake is wanted, for another reason than a retry: a packet without a key, or a key past its age or its number
  // of messages. True: send an initiation now, then call initiation_sent. False: the last handshake message to this
  // peer is younger than 5 s. Resets the count of attempts either way.
  [[nodiscard]] bool start_handshake(MonoTime now) noexcept;

  // The same for the receiving initiator's key of 165 s and more: true at most once per session.
  [[nodiscard]] bool start_last_minute_handshake(MonoTime now) noexcept;

  // Events of the handshake, told by control. Besides these it writes the stamps (see above).
  void initiation_sent(MonoTime now, Rng& rng) noexcept;
  void response_sent(MonoTime now) noexcept;
  void session_derived(MonoTime now) noexcept;  // either role
  void handshake_complete() noexcept;           // initiator: response accepted; responder: key confirmed
  void private_key_changed() noexcept;          // a new handshake may start at once
  void way_opened() noexcept;                   // likewise: what was sent before got nowhere

  // What is due at `now`. Each expiry is reported once; `rng` draws the jitter.
  TimerActions evaluate(const Stamps& stamps, MonoTime now, Rng& rng) noexcept;

  unsigned attempts() const noexcept { return attempts_; }

 private:
  // A deadline that the first value of a stamp arms, once per value.
  struct StampTimer {
    MonoTime at;        // never: not armed, or expired
    MonoTime armed_by;  // the stamp's value; never: the stamp was clear
    void follow(MonoTime stamp, Nanoseconds after) noexcept;
  };

  bool may_send_handshake(MonoTime now) const noexcept;
  void follow_stamps(const Stamps& stamps, Rng& rng) noexcept;
  void follow_passive_keepalive(const Stamps& stamps) noexcept;
  void follow_persistent_keepalive(const Stamps& stamps) noexcept;
  void expire_retransmission(TimerActions& actions, MonoTime now) noexcept;
  void give_up(TimerActions& actions, MonoTime now) noexcept;
  void expire_new_handshake(TimerActions& actions, MonoTime now) noexcept;
  void expire_passive_keepalive(TimerActions& actions, const Stamps& stamps, MonoTime now) noexcept;
  void expire_persistent_keepalive(TimerActions& actions, MonoTime now) noexcept;
  void expire_keys(TimerActions& actions, MonoTime now) noexcept;
  MonoTime next_deadline(MonoTime now) const noexcept;

  bool running_ = false;
  bool last_minute_handshake_sent_ = false;
  unsigned attempts_ = 0;  // retries so far
  std::chrono::seconds persistent_interval_{0};
  MonoTime last_handshake_sent_;  // initiation or response

  MonoTime retransmit_at_;
  StampTimer new_handshake_;
  StampTimer passive_keepalive_;
  MonoTime passive_rearmed_at_;  // the passive keepalive was asked for then and re-armed at once; else never
  StampTimer persistent_keepalive_;
  MonoTime zero_keys_at_;  // armed while the peer may hold keys
};

}  // namespace sluice
