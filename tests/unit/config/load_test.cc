// Loading: what a good file means, and for each kind of mistake the exact line that an operator reads.
#include "config/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "config/keys.h"
#include "tests/unit/config/scratch.h"

namespace sluice::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

const Machine kFourCores{{0, 1, 2, 3}};

// RFC 7748, section 6.1: Alice's and Bob's keys.
constexpr std::string_view kAlicePrivate = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
constexpr std::string_view kAlicePublic = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
constexpr std::string_view kBobPublic = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";

std::vector<std::string> texts(const std::vector<Diagnostic>& found) {
  std::vector<std::string> result;
  for (const Diagnostic& diagnostic : found) result.push_back(to_string(diagnostic));
  return result;
}

std::vector<std::string> errors_of(std::string_view toml) { return texts(load_text(toml, "f", kFourCores).errors); }

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

// Every example, beside the key files that it names.
class Examples : public testing::TestWithParam<std::string> {};

TEST_P(Examples, Load) {
  const Scratch scratch;
  const std::string file = scratch.path("gateway.toml");
  std::filesystem::copy_file(std::string(SLUICE_EXAMPLES) + "/" + GetParam(), file);
  scratch.write("wg0.key", kAlicePrivate);
  scratch.write("berlin.psk", kAlicePrivate);
  const Loaded loaded = load(file, kFourCores);
  EXPECT_THAT(texts(loaded.errors), IsEmpty());
  EXPECT_THAT(texts(loaded.warnings), IsEmpty());
  ASSERT_TRUE(loaded.model);
  EXPECT_EQ(loaded.model->tunnels.at(0).name, "wg0");
}

std::vector<std::string> example_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(SLUICE_EXAMPLES))
    names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, Examples, testing::ValuesIn(example_names()), [](const auto& info) {
  std::string name = info.param;
  std::ranges::replace_if(
      name, [](char c) { return c == '.' || c == '-'; }, '_');
  return name;
});

}  // namespace
}  // namespace sluice::config
