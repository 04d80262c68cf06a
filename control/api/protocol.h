// The gateway's own API: what the WireGuard socket lacks. Spoken by the daemon (server.cc) and the CLI (control/ctl).
// In drop-in mode the gateway has its interface's name.
//
// Transport: a Unix stream socket, RUN_DIRECTORY/GATEWAY.sock, mode 0600. One JSON object per line each way, UTF-8, one
// reply for each request, in order; the client may send further requests on the same connection. A request longer than
// kMaxRequest, or one that is not a JSON object, is answered with an error and the connection is closed.
//
//   request  {"op": OP, ...arguments}              unknown arguments are refused, so that a typing error is seen
//   reply    {"ok": true, ...result}
//            {"ok": false, "error": TEXT}          one line for people
//            {"ok": false, "error": TEXT, "errors": [TEXT...]}   where there is more than one thing to say (reload)
//
// Numbers are JSON integers unless said otherwise; counters are 64 bit and start at zero with the daemon; keys are
// base64 as `wg` prints them; private and pre-shared keys never leave the daemon. A field that does not apply is left
// out, or null. Clients ignore fields they do not know: fields may be added, never change their meaning.
//
// show {"tunnel": NAME?, "peer": PUBLIC-KEY or NAME?}
//   Without arguments everything; with "tunnel" only that tunnel, with "peer" only peers of that key or name. Nothing
//   found: ok = false. With an argument, "ports" is left out.
//   {"gateway":        name,
//    "version":        text,
//    "uptime":         seconds,
//    "engine":         name of the AEAD engine in use,
//    "workers":        [{"worker": 0.., "core": CPU, if it has one of its own}],
//    "ports":          [{"name", "device": as in TOML, "mac": "02:..", "link": "up" | "down", "mtu",
//                        "rx_packets", "rx_bytes", "rx_drops", "tx_packets", "tx_bytes", "tx_drops"}],
//                       drop-in mode's TUN and sockets have no "mac" and "mtu" of their own; with
//                       "steering": "on" | "off" | "refused" and, if so, "steering_refusal": what the driver says,
//                       where there are queues of several workers to choose from
//    "tunnels":        [{"name", "public_key": if it has one, "listen_port", "mtu", "peers": [PEER]}]}
//   PEER {"public_key",
//         "name":                 if it has one,
//         "endpoint":             "192.0.2.1:51820", if known,
//         "allowed_ips":          ["10.2.0.0/16", ...],
//         "latest_handshake":     unix seconds, 0: never,
//         "rx_bytes", "tx_bytes": as `wg show` counts them,
//         "persistent_keepalive": seconds, 0: off,
//         "preshared_key":        true if one is set,
//         "session_age":          seconds since the current session began, if there is one,
//         "owner_worker":         the worker that receives for the current session, if there is one}
//
// stats {}
//   {"gateway", "workers": [{"worker", "core", "polls",
//                            "idle":    share of polls that found nothing, 0.0 .. 1.0,
//                            "sleep":   share of time asleep, 0.0 .. 1.0,
//                            "spread":  {"bursts":         whose cipher work was open to all workers, while saturated,
//                                        "packets_helped": of them, that other workers did (theirs: stage "help"),
//                                        "stalls":         chunks of packets that were dropped as spread_stalled},
//                            "handed_off": data messages that arrived here and belong to other workers,
//                            "stages": [{"name", "calls", "packets", "cycles",
//                                        "cycles_per_packet", "packets_per_call": both may be fractions}]}]}
//   Stages come in the order a packet travels; those that were never called may be left out.
//
// drops {"all": true?}
//   {"gateway", "drops": [{"reason": identifier, "text": for people, "packets"}]}
//   Only reasons that moved, unless "all".
//
// reload {}
//   Reads the configuration file again and applies the difference. Drop-in mode has none: ok = false.
//   {"applied": [TEXT...]}: one line for each change (config/diff.h, describe()); empty if the file says what is
//   running ok = false: nothing was changed. "errors" has each "file:line:column: field: what", or each change that
//   needs a restart.
#pragma once

#include <cstddef>
#include <string_view>

namespace sluice::api {

inline constexpr std::string_view kDefaultRunDirectory = "/run/sluice";
inline constexpr std::string_view kSocketSuffix = ".sock";

inline constexpr size_t kMaxRequest = size_t{64} * 1024;        // bytes, newline included
inline constexpr size_t kMaxReply = size_t{256} * 1024 * 1024;  // 100,000 peers are about 30 MB

inline constexpr std::string_view kOpShow = "show";
inline constexpr std::string_view kOpStats = "stats";
inline constexpr std::string_view kOpDrops = "drops";
inline constexpr std::string_view kOpReload = "reload";

}  // namespace sluice::api
