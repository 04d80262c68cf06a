// A conversation whose replies are true: what a client is told is done, workers see. Without it a packet that follows
// the reply could meet the tables of before.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "control/gateway/control_loop.h"
#include "control/loop/unix_server.h"

namespace sluice {

class PublishedConversation final : public Conversation {
 public:
  PublishedConversation(std::unique_ptr<Conversation> conversation, ControlLoop& control)
      : conversation_(std::move(conversation)), control_(control) {}
  bool feed(std::string_view bytes, std::string& output) override {
    const size_t before = output.size();
    const bool goes_on = conversation_->feed(bytes, output);
    if (output.size() != before) control_.publish();
    return goes_on;
  }

 private:
  std::unique_ptr<Conversation> conversation_;
  ControlLoop& control_;
};

}  // namespace sluice
