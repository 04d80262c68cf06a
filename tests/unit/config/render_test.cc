// Rendering: every default is there, no secret is, and but for the masks the text loads again as the same model.
#include "config/render.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/diff.h"
#include "config/load.h"
#include "tests/unit/config/scratch.h"

namespace sluice::config {
namespace {

using testing::HasSubstr;
using testing::Not;

const Machine kFourCores{{0, 1, 2, 3}};

constexpr std::string_view kShort = R"toml(
[[port]]
name = "wan"
device = "pci:3b:00.0"
[[tunnel]]
name = "wg0"
private-key = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo="
[[tunnel.peer]]
public-key = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="
preshared-key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)toml";

constexpr std::string_view kInFull = R"toml([gateway]
name          = "sluice"
workers       = [1, 2, 3]
idle          = "adaptive"
spread        = true
engine        = "auto"
hugepages     = "auto"
run-directory = "/run/sluice"

[[port]]
name      = "wan"
device    = "pci:0000:3b:00.0"
addresses = []
mtu       = 1500

[[tunnel]]
name               = "wg0"
private-key        = "(hidden)"
listen-port        = 0
addresses          = []
mtu                = "auto"
mss-clamp          = false
path-mtu-probe     = false
dscp               = "clear"
routes             = "auto"
fwmark             = "off"
shared-allowed-ips = false

[[tunnel.peer]]
public-key           = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="
preshared-key        = "(hidden)"
allowed-ips          = []
persistent-keepalive = "off"
)toml";

TEST(Render, FillsInDefaultsAndMasksSecrets) {
  const Loaded loaded = load_text(kShort, "f", kFourCores);
  ASSERT_TRUE(loaded.model);
  EXPECT_EQ(render(*loaded.model), kInFull);
}

// With keys in files nothing is masked: what was rendered is a configuration, and the same one.
TEST(Render, LoadsAgain) {
  const Scratch scratch;
  scratch.write("wg0.key", "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=");
  scratch.write("berlin.psk", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
  for (const auto& example : std::filesystem::directory_iterator(SLUICE_EXAMPLES)) {
    std::filesystem::copy_file(example.path(), scratch.path(example.path().filename().string()));
    const Loaded first = load(scratch.path(example.path().filename().string()), kFourCores);
    ASSERT_TRUE(first.model) << example.path();
    const std::string text = render(*first.model);
    const Loaded second = load_text(text, scratch.path("again.toml"), kFourCores);
    ASSERT_TRUE(second.model) << text;
    EXPECT_TRUE(diff(*first.model, *second.model).empty()) << text;
    EXPECT_EQ(render(*second.model), text);
    EXPECT_THAT(text, Not(HasSubstr("dwdtCn")));
  }
}

}  // namespace
}  // namespace sluice::config
