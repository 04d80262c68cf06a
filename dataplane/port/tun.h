// The inner side of a tunnel on a plain host: a TUN whose packets Linux routes itself. Yields and takes IP packets
// (Port::Carries::kPackets). Linux hands over super-frames of up to 64 KiB, which are cut into packets here, and is
// handed super-frames again, made of neighbouring packets of a flow (wire/super_frame.h): one system call for dozens of
// packets in either direction.
#pragma once

#include <memory>
#include <string>

#include "dataplane/base/result.h"
#include "dataplane/port/buffers.h"
#include "dataplane/port/port.h"

namespace sluice {

// Takes over `fd`, a non-blocking TUN with IFF_NO_PI and IFF_VNET_HDR, and asks Linux for offloads, as many as it
// knows. One receive and one transmit queue.
Result<std::unique_ptr<Port>> make_tun_port(PortId id, const std::string& name, int fd, const Buffers& buffers);

}  // namespace sluice
