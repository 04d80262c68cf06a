#include "dataplane/worker/qsbr_domain.h"

#include <rte_rcu_qsbr.h>

#include <cstdlib>
#include <new>
#include <utility>

namespace sluice {

QsbrDomain::QsbrDomain(uint16_t workers) {
  const size_t size = RTE_CACHE_LINE_ROUNDUP(rte_rcu_qsbr_get_memsize(workers));
  qsbr_.reset(static_cast<rte_rcu_qsbr*>(std::aligned_alloc(RTE_CACHE_LINE_SIZE, size)));
  if (qsbr_ == nullptr) throw std::bad_alloc();
  rte_rcu_qsbr_init(qsbr_.get(), workers);
}

void QsbrDomain::free_aligned(rte_rcu_qsbr* p) noexcept { std::free(p); }

void QsbrDomain::retire(std::function<void()> free_it) {
  retired_.push_back({rte_rcu_qsbr_start(qsbr_.get()), std::move(free_it)});
}

void QsbrDomain::collect() {
  while (!retired_.empty() && rte_rcu_qsbr_check(qsbr_.get(), retired_.front().token, false) == 1) {
    const std::function<void()> free_it = std::move(retired_.front().free_it);
    retired_.pop_front();  // before the call: it may retire more
    free_it();
  }
}

void QsbrDomain::free_all() {
  while (!retired_.empty()) {
    const std::function<void()> free_it = std::move(retired_.front().free_it);
    retired_.pop_front();
    free_it();
  }
}

}  // namespace sluice
