#include "control/gateway/resolver.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace sluice {
namespace {

struct Question {
  std::string host;
  uint16_t port;
  Resolver::Done done;
};
struct Answer {
  Resolver::Done done;
  std::optional<Endpoint> endpoint;
};

std::optional<Endpoint> ask(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return std::nullopt;
  std::optional<Endpoint> endpoint;
  for (const addrinfo* a = found; a && !endpoint; a = a->ai_next) {
    if (a->ai_family == AF_INET)
      endpoint = Endpoint{IpAddress::ipv4(&reinterpret_cast<const sockaddr_in*>(a->ai_addr)->sin_addr), port, 0};
    else if (a->ai_family == AF_INET6)
      endpoint = Endpoint{IpAddress::ipv6(&reinterpret_cast<const sockaddr_in6*>(a->ai_addr)->sin6_addr), port,
                          reinterpret_cast<const sockaddr_in6*>(a->ai_addr)->sin6_scope_id};
  }
  freeaddrinfo(found);
  return endpoint;
}

}  // namespace

// Control adds questions and takes answers; the thread does the opposite. It outlives the Resolver if a question is
// still under way.
struct Resolver::Shared {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Question> questions;
  std::vector<Answer> answers;
  bool stop = false;
  int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  ~Shared() { close(event_fd); }

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return stop || !questions.empty(); });
      if (stop) return;
      Question question = std::move(questions.front());
      questions.pop_front();
      lock.unlock();
      auto endpoint = ask(question.host, question.port);
      lock.lock();
      answers.push_back({std::move(question.done), endpoint});
      eventfd_write(event_fd, 1);
    }
  }
};

Resolver::Resolver(EventLoop& loop) : loop_(loop), shared_(std::make_shared<Shared>()) {
  loop_.add(shared_->event_fd, EPOLLIN, [this](uint32_t) { deliver(); });
  std::thread([shared = shared_] { shared->work(); }).detach();
}

Resolver::~Resolver() {
  loop_.remove(shared_->event_fd);
  const std::lock_guard lock(shared_->mutex);
  shared_->stop = true;
  shared_->changed.notify_all();
}

void Resolver::resolve(const std::string& host, uint16_t port, Done done) {
  const std::lock_guard lock(shared_->mutex);
  shared_->questions.push_back({host, port, std::move(done)});
  shared_->changed.notify_one();
}

void Resolver::deliver() {
  eventfd_t count;
  eventfd_read(shared_->event_fd, &count);
  std::vector<Answer> answers;
  {
    const std::lock_guard lock(shared_->mutex);
    answers.swap(shared_->answers);
  }
  for (Answer& answer : answers) answer.done(answer.endpoint);
}

}  // namespace sluice
