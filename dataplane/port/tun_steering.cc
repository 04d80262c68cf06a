#include "dataplane/port/tun_steering.h"

#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "dataplane/wire/ip.h"

namespace sluice {
namespace {

// The program, written down as it runs: r7 collects what the choice depends on. Offsets are the IP header's; a load
// beyond the packet's end ends the program with 0.
class Program {
 public:
  Program() {
    move(BPF_REG_6, BPF_REG_1);  // loads find the packet by it
    load(BPF_B, 0);
    shift_right(BPF_REG_0, 4);
    const size_t to_ipv6 = jump_unless(4);
    load_first(12);
    add_word(16);
    load(BPF_H, 6);
    emit(BPF_ALU | BPF_AND | BPF_K, BPF_REG_0, 0, 0, 0x3fff);  // more fragments, offset
    const size_t fragment = jump_unless(0);
    load(BPF_B, 9);
    const size_t other_ipv4 = jump_unless(kProtocolTcp);
    load(BPF_B, 0);
    emit(BPF_ALU | BPF_AND | BPF_K, BPF_REG_0, 0, 0, 0xf);
    emit(BPF_ALU | BPF_LSH | BPF_K, BPF_REG_0, 0, 0, 2);
    move(BPF_REG_8, BPF_REG_0);
    emit(BPF_LD | BPF_IND | BPF_W, 0, BPF_REG_8, 0, 0);  // both ports
    exclusive_or();
    const size_t done = jump();

    land(to_ipv6);
    load_first(8);
    for (int at = 12; at < int{sizeof(Ipv6Header)}; at += 4) add_word(at);
    load(BPF_B, 6);
    const size_t other_ipv6 = jump_unless(kProtocolTcp);
    add_word(sizeof(Ipv6Header));

    for (const size_t from : {fragment, other_ipv4, done, other_ipv6}) land(from);
    emit(BPF_ALU | BPF_MUL | BPF_K, BPF_REG_7, 0, 0, static_cast<int>(0x9e3779b1));
    shift_right(BPF_REG_7, 16);
    move(BPF_REG_0, BPF_REG_7);  // Linux takes it modulo the number of queues
    emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
  }

  int load_into_kernel() const noexcept {
    static constexpr char kLicense[] = "Apache-2.0";
    bpf_attr attributes;
    std::memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
    attributes.insns = reinterpret_cast<uintptr_t>(code_.data());
    attributes.insn_cnt = static_cast<uint32_t>(code_.size());
    attributes.license = reinterpret_cast<uintptr_t>(kLicense);
    return static_cast<int>(syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes));
  }

 private:
  void emit(unsigned code, unsigned destination, unsigned source, int offset, int immediate) {
    bpf_insn instruction{};
    instruction.code = static_cast<uint8_t>(code);
    instruction.dst_reg = destination & 0xf;
    instruction.src_reg = source & 0xf;
    instruction.off = static_cast<int16_t>(offset);
    instruction.imm = immediate;
    code_.push_back(instruction);
  }
  void move(unsigned to, unsigned from) { emit(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0); }
  void load(unsigned size, int at) { emit(BPF_LD | BPF_ABS | size, 0, 0, 0, at); }
  void shift_right(unsigned what, int bits) { emit(BPF_ALU | BPF_RSH | BPF_K, what, 0, 0, bits); }
  void exclusive_or() { emit(BPF_ALU | BPF_XOR | BPF_X, BPF_REG_7, BPF_REG_0, 0, 0); }
  void load_first(int at) {
    load(BPF_W, at);
    move(BPF_REG_7, BPF_REG_0);
  }
  void add_word(int at) {
    load(BPF_W, at);
    exclusive_or();
  }
  size_t jump_unless(int value) {
    emit(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_0, 0, 0, value);
    return code_.size() - 1;
  }
  size_t jump() {
    emit(BPF_JMP | BPF_JA, 0, 0, 0, 0);
    return code_.size() - 1;
  }
  void land(size_t from) { code_[from].off = static_cast<int16_t>(code_.size() - from - 1); }

  std::vector<bpf_insn> code_;
};

}  // namespace

Result<void> steer_by_flow(int fd) {
  int program = Program().load_into_kernel();
  const bool set = program >= 0 && ioctl(fd, TUNSETSTEERINGEBPF, &program) == 0;
  const int code = errno;
  if (program >= 0) close(program);
  if (set) return {};
  return Error{std::string("cannot choose among the queues of a TUN: ") + std::strerror(code), code};
}

}  // namespace sluice
