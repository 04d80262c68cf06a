#include "control/api/request.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace sluice::api {
namespace {

std::string error_of(std::string_view line) {
  const auto request = parse_request(line);
  return request ? "none" : request.error().what;
}

TEST(Request, EveryOperationWithItsArguments) {
  EXPECT_EQ(parse_request(R"({"op":"show"})")->op, Op::kShow);
  EXPECT_EQ(parse_request(R"({"op":"stats"})")->op, Op::kStats);
  EXPECT_EQ(parse_request(R"({"op":"reload"})")->op, Op::kReload);
  const auto show = parse_request(R"( {"peer":"berlin", "tunnel":"wg0", "op":"show"} )");
  EXPECT_EQ(show->tunnel, "wg0");
  EXPECT_EQ(show->peer, "berlin");
  EXPECT_FALSE(parse_request(R"({"op":"drops"})")->all);
  EXPECT_TRUE(parse_request(R"({"op":"drops","all":true})")->all);
}

TEST(Request, WhatIsNoRequestEndsTheConversation) {
  for (const char* line :
       {"", "get=1", "[]", "7", R"({"op":7})", R"({"tunnel":"wg0"})", R"({"op":"show")", "{\"op\":\"\xff\"}"}) {
    const auto request = parse_request(line);
    ASSERT_FALSE(request) << line;
    EXPECT_EQ(request.error().code, EPROTO) << line;
    EXPECT_EQ(request.error().what, "not a request: a JSON object with \"op\" on one line is expected");
  }
}

TEST(Request, MistakesAreSaid) {
  EXPECT_EQ(error_of(R"({"op":"shwo"})"), "unknown operation shwo");
  EXPECT_EQ(error_of(R"({"op":"show","tunel":"wg0"})"), "show: unknown argument tunel");
  EXPECT_EQ(error_of(R"({"op":"stats","all":true})"), "stats: unknown argument all");
  EXPECT_EQ(error_of(R"({"op":"reload","file":"x"})"), "reload: unknown argument file");
  EXPECT_EQ(error_of(R"({"op":"show","peer":7})"), "show: argument peer has to be a text");
  EXPECT_EQ(error_of(R"({"op":"drops","all":1})"), "drops: argument all has to be true or false");
  EXPECT_EQ(parse_request(R"({"op":"shwo"})").error().code, EINVAL);
}

}  // namespace
}  // namespace sluice::api
