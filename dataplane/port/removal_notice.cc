#include "dataplane/port/removal_notice.h"

#include <rte_dev.h>

#include <cerrno>
#include <thread>
#include <utility>

namespace sluice {
namespace {

void on_event(const char*, rte_dev_event_type event, void* asked) {
  if (event == RTE_DEV_EVENT_REMOVE) static_cast<std::atomic<bool>*>(asked)->store(true, std::memory_order_relaxed);
}

}  // namespace

RemovalNotice::RemovalNotice(std::string pci) : pci_(std::move(pci)) {
  if (!pci_.empty()) rte_dev_event_callback_register(pci_.c_str(), on_event, &asked_);
}

RemovalNotice::~RemovalNotice() {
  // EAGAIN: it is being called.
  while (!pci_.empty() && rte_dev_event_callback_unregister(pci_.c_str(), on_event, &asked_) == -EAGAIN)
    std::this_thread::yield();
}

}  // namespace sluice
