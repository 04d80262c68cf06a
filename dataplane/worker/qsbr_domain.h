// Objects that workers may still hold pointers to: freed once every worker has passed a quiescent state (QSBR), and
// never waited for. Control thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>

#include "dataplane/base/handle.h"

struct rte_rcu_qsbr;

namespace sluice {

class QsbrDomain {
 public:
  explicit QsbrDomain(uint16_t workers);
  rte_rcu_qsbr* get() const noexcept { return qsbr_.get(); }

  // `free_it` runs in a later collect(). What it frees must be out of the readers' reach already.
  void retire(std::function<void()> free_it);
  void collect();
  size_t waiting() const noexcept { return retired_.size(); }
  void free_all();  // no reader is left

 private:
  struct Retired {
    uint64_t token;
    std::function<void()> free_it;
  };
  static void free_aligned(rte_rcu_qsbr* p) noexcept;
  Handle<rte_rcu_qsbr, free_aligned> qsbr_;
  std::deque<Retired> retired_;  // tokens ascend
};

}  // namespace sluice
