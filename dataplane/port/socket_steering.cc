#include "dataplane/port/socket_steering.h"

#include <linux/filter.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

#include "dataplane/wire/messages.h"

namespace sluice {
namespace {

constexpr uint32_t kByHash = ~uint32_t{0};  // the number of no socket

constexpr sock_filter statement(unsigned code, uint32_t k) { return {static_cast<uint16_t>(code), 0, 0, k}; }
// Skips so many statements if what was loaded is k, or if it is not.
constexpr sock_filter compare(uint32_t k, uint8_t skip_if, uint8_t skip_if_not) {
  return {BPF_JMP | BPF_JEQ | BPF_K, skip_if, skip_if_not, k};
}

// A classic BPF program that Linux runs over the UDP payload; what it returns is the socket's number. Loads are big
// endian, and one beyond the payload's end ends the program with 0.
std::vector<sock_filter> program_for(const QueueByIndex& queues, uint16_t sockets) {
  const uint32_t data = __builtin_bswap32(static_cast<uint32_t>(MessageType::kData));
  std::vector<sock_filter> program{statement(BPF_LD | BPF_W | BPF_ABS, offsetof(DataHeader, type)), compare(data, 1, 0),
                                   statement(BPF_RET | BPF_K, kByHash),
                                   statement(BPF_LD | BPF_B | BPF_ABS, offsetof(DataHeader, receiver_index)),
                                   statement(BPF_ALU | BPF_AND | BPF_K, queues.mask())};
  for (uint32_t index = 0; index < queues.queues.size(); ++index) {
    program.push_back(compare(index, 0, 1));
    program.push_back(statement(BPF_RET | BPF_K, queues.queue_of(index) % sockets));
  }
  program.push_back(statement(BPF_RET | BPF_K, kByHash));
  return program;
}

}  // namespace

Result<void> steer_by_index(int fd, const QueueByIndex& queues, uint16_t sockets) {
  std::vector<sock_filter> code = program_for(queues, sockets);
  const sock_fprog program{.len = static_cast<unsigned short>(code.size()), .filter = code.data()};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) == 0) return {};
  return Error{std::string("socket: ") + std::strerror(errno), errno};
}

}  // namespace sluice
