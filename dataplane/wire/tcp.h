// TCP's header (RFC 9293, section 3.1). A view over bytes whose length the caller has checked.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dataplane/base/wire_integer.h"

namespace sluice {

struct TcpHeader {
  static constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16, kUrg = 32, kEce = 64, kCwr = 128;

  be16 source_port, destination_port;
  be32 sequence, acknowledgement;
  uint8_t data_offset;  // upper four bits, in units of 4 bytes
  uint8_t flags;
  be16 window, checksum, urgent_pointer;

  size_t header_size() const { return size_t{4} * (data_offset >> 4); }
  bool opens_connection() const { return (flags & (kSyn | kRst)) == kSyn; }
};
static_assert(sizeof(TcpHeader) == 20);

}  // namespace sluice
