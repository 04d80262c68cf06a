// The inner side of a tunnel on a plain host: a TUN whose packets Linux routes itself. Yields and takes IP packets
// (Port::Carries::kPackets). Linux hands over super-frames of up to 64 KiB, which are cut into packets here, and is
// handed super-frames again, made of neighbouring packets of a flow (wire/super_frame.h): one system call for dozens of
// packets in either direction.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/base/result.h"
#include "dataplane/port/buffers.h"
#include "dataplane/port/port.h"

namespace sluice {

// Takes over `fds`, the queues of a non-blocking TUN with IFF_NO_PI and IFF_VNET_HDR, and asks Linux for offloads, as
// many as it knows. So many receive queues; a transmit queue for each of `workers`, which are at least as many.
//
// Linux would hand each flow to the queue on which its other direction came, and change its mind on the way; with more
// than one queue it is told to choose by addresses, of TCP by ports as well, so that a flow is always one worker's and
// keeps its order. A host that does not allow this (bpf(2), CAP_BPF) gets one receive queue.
Result<std::unique_ptr<Port>> make_tun_port(PortId id, const std::string& name, std::vector<int> fds, uint16_t workers,
                                            const Buffers& buffers);

}  // namespace sluice
