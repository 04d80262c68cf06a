#include "dataplane/port/buffers.h"

#include <rte_errno.h>

#include "dataplane/port/dpdk_log.h"

namespace sluice {

Result<PacketPool> make_large_packet_pool(const std::string& name, uint32_t buffers, uint16_t private_size) {
  forget_dpdk_log();
  PacketPool pool(rte_pktmbuf_pool_create(name.c_str(), buffers, 0, private_size, UINT16_MAX, SOCKET_ID_ANY));
  if (pool != nullptr) return pool;
  const int error = rte_errno;
  return Error{with_dpdk_reason("no memory for " + std::to_string(buffers) + " large packet buffers", error), error};
}

}  // namespace sluice
