#include "control/gateway/resolver.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

namespace sluice {
namespace {

constexpr unsigned kThreads = 4;  // names that nobody answers for take tens of seconds each

Endpoint endpoint_of(const sockaddr* address) {
  if (address->sa_family == AF_INET) return {IpAddress::ipv4(&reinterpret_cast<const sockaddr_in*>(address)->sin_addr)};
  if (address->sa_family != AF_INET6) return {};
  const auto* ipv6 = reinterpret_cast<const sockaddr_in6*>(address);
  return {IpAddress::ipv6(&ipv6->sin6_addr), 0, ipv6->sin6_scope_id};
}

std::vector<Endpoint> ask(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return {};
  std::vector<Endpoint> endpoints;
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    const Endpoint endpoint = endpoint_of(a->ai_addr);
    const bool fresh = std::find(endpoints.begin(), endpoints.end(), endpoint) == endpoints.end();
    if (!endpoint.is_none() && fresh) endpoints.push_back(endpoint);
  }
  freeaddrinfo(found);
  return endpoints;
}

}  // namespace

// Control adds questions and takes answers; the threads do the opposite. It outlives the Resolver while a question is
// under way.
struct Resolver::Shared {
  using Askers = std::vector<Done>;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::string> questions;                // in the order in which they came
  std::unordered_map<std::string, Askers> waiting;  // for those
  std::vector<std::pair<Askers, std::vector<Endpoint>>> answers;
  bool stop = false;
  int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  ~Shared() { close(event_fd); }

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return stop || !questions.empty(); });
      if (stop) return;
      const std::string host = std::move(questions.front());
      questions.pop_front();
      Askers askers = std::move(waiting.extract(host).mapped());
      lock.unlock();
      std::vector<Endpoint> endpoints = ask(host);
      lock.lock();
      answers.emplace_back(std::move(askers), std::move(endpoints));
      eventfd_write(event_fd, 1);
    }
  }
};

Resolver::Resolver(EventLoop& loop) : loop_(loop), shared_(std::make_shared<Shared>()) {
  loop_.add(shared_->event_fd, EPOLLIN, [this](uint32_t) { deliver(); });
  for (unsigned i = 0; i < kThreads; ++i) std::thread([shared = shared_] { shared->work(); }).detach();
}

Resolver::~Resolver() {
  loop_.remove(shared_->event_fd);
  const std::lock_guard lock(shared_->mutex);
  shared_->stop = true;
  shared_->changed.notify_all();
}

void Resolver::resolve(const std::string& host, Done done) {
  const std::lock_guard lock(shared_->mutex);
  auto& askers = shared_->waiting[host];
  askers.push_back(std::move(done));
  if (askers.size() > 1) return;
  shared_->questions.push_back(host);
  shared_->changed.notify_one();
}

void Resolver::deliver() {
  eventfd_t count;
  eventfd_read(shared_->event_fd, &count);
  decltype(shared_->answers) answers;
  {
    const std::lock_guard lock(shared_->mutex);
    answers.swap(shared_->answers);
  }
  for (auto& [askers, endpoints] : answers)
    for (const Done& done : askers) done(endpoints);
}

}  // namespace sluice
