// The straight line a packet travels, a burst at a time. Every stage takes the burst, drops by name, and leaves the
// survivors in order. No stage calls an earlier one; packets that were staged or handed over rejoin behind
// encapsulate and at find_sessions. A packet ends in exactly one way: transmitted, punted to control, staged, handed
// to another worker, consumed (an authentic keepalive) or dropped under one name.
//
//   ingress.cc   frames from a port: parse_frames -> take_messages -> { WireGuard | find_flows -> forward }
//   inbound.cc   WireGuard to IP:   find_sessions -> open_burst -> accept_messages -> check_inner (find_flows within)
//                                   -> forward
//   forward.cc   IP packets:        forward -> { port | tunnel | punt }
//   outbound.cc  IP to WireGuard:   encapsulate -> seal_burst -> finish_outer -> port
#pragma once

#include "dataplane/pipeline/context.h"

namespace sluice {

// Frames received on `in`; the stages' entry. All mbufs are consumed.
void process_frames(WorkerContext& context, PortId in, Burst& frames) noexcept;

// The same for ports that the kernel has done part of the work for (Port::Carries): UDP datagrams to our listen port,
// found good, enter at find_sessions; packets that Linux has routed into a tunnel, at encapsulate. Nobody else's
// packets are on such ports: nothing is looked up.
void process_datagrams(WorkerContext& context, PortId in, Burst& datagrams) noexcept;
void process_packets(WorkerContext& context, PortId in, Burst& packets) noexcept;

// Packets that another worker handed to us for a peer: WireGuard data messages (rte_pktmbuf_mtod at the message), to
// find_sessions.
void process_handed_off(WorkerContext& context, Burst& messages) noexcept;

// IP packets of the gateway itself, rte_pktmbuf_mtod at the IP header: routed without touching the TTL (ICMP errors,
// packets that waited for a neighbour) or sent into a given tunnel (meta.tunnel).
void process_own(WorkerContext& context, Burst& packets) noexcept;
void process_tunnel_bound(WorkerContext& context, Burst& packets) noexcept;

// While the worker is saturated, bursts stay with the cipher for a while (spread.h): brings all of them to the end of
// the line. Before the end of the poll.
void finish_spread(WorkerContext& context) noexcept;

// Commands about staged packets and keepalives (mailbox.h).
void flush_staged(WorkerContext& context, PeerId peer) noexcept;
void discard_staged(WorkerContext& context, PeerId peer) noexcept;
void send_keepalive(WorkerContext& context, PeerId peer) noexcept;
// `plaintext`: an inner packet and padding, as large as the path MTU that is asked for makes it. Dropped in silence
// without a key: whoever probes tries again.
void send_probe(WorkerContext& context, PeerId peer, rte_mbuf* plaintext) noexcept;

}  // namespace sluice
