// Any text either loads or says why not, in single lines; what loads renders to a text that loads as the same model.
// The input is taken as it is, and as a list of edits to a good file: random bytes alone would never get past the
// grammar.
#include <array>
#include <cstdint>
#include <span>

#include "config/diff.h"
#include "config/load.h"
#include "config/render.h"
#include "tests/fuzz/require.h"

namespace {

using namespace sluice;

void require_single_lines(const std::vector<config::Diagnostic>& found) {
  for (const config::Diagnostic& diagnostic : found)
    for (const char c : to_string(diagnostic)) require(static_cast<unsigned char>(c) >= 0x20);
}

constexpr std::string_view kGood = R"([gateway]
name = "paris"
workers = [2, 3]
idle = "poll"
run-directory = "/run/elsewhere"
[[port]]
name = "wan"
device = "pci:3B:00.0"
addresses = ["198.51.100.10/24", "2001:db8::10/64"]
mtu = 9000
[[port]]
name = "lan"
device = "af_packet:eth1"
devargs = "a=1"
[[route]]
to = "10.9.8.7/8"
via = "198.51.100.1"
[[route]]
to = "::/0"
via = "fe80::1"
dev = "wan"
[[tunnel]]
name = "wg0"
private-key = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo="
fwmark = 0xca6c
[[tunnel.peer]]
public-key = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="
allowed-ips = ["10.2.3.4/16", "192.0.2.1"]
endpoint = "vpn.example:51820"
persistent-keepalive = "off"
)";

// Three bytes are an edit: where, and what is put over the text there, or into it.
std::string edited(std::span<const uint8_t> edits) {
  static constexpr std::array<std::string_view, 24> kPieces{
      "\n",  "\"", "[",  "]",     "[[",    "]]",   "=", ".",    ",", "#",    "{",        "}",
      "\\n", "/",  "-1", "65536", "1e999", "0x7f", ":", "\x01", " ", "true", "\xc3\xa9", "null"};
  std::string text(kGood);
  for (; edits.size() >= 3; edits = edits.subspan(3)) {
    const size_t at = (edits[0] * 256u + edits[1]) % (text.size() + 1);
    const std::string_view piece = kPieces[edits[2] % kPieces.size()];
    text.replace(at, edits[2] < 128 ? piece.size() : 0, piece);
  }
  return text;
}

// A rendering with some key put where secrets were masked, so that it loads.
std::string unmasked(std::string text) {
  static constexpr std::string_view kMask = "(hidden)";
  static constexpr std::string_view kSomeKey = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
  for (size_t at; (at = text.find(kMask)) != std::string::npos;) text.replace(at, kMask.size(), kSomeKey);
  return text;
}

void load_and_compare(std::string_view text) {
  const config::Machine machine{{0, 1, 2, 3}};
  const config::Loaded loaded = config::load_text(text, "f", machine);
  require((loaded.model == nullptr) != loaded.errors.empty());
  require_single_lines(loaded.errors);
  require_single_lines(loaded.warnings);
  if (!loaded.model) return;

  require(config::diff(*loaded.model, *loaded.model).empty());
  const std::string rendered = config::render(*loaded.model);
  const config::Loaded again = config::load_text(unmasked(rendered), "f", machine);
  require(again.model != nullptr);
  require(config::render(*again.model) == rendered);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  load_and_compare({reinterpret_cast<const char*>(data), size});
  load_and_compare(edited({data, size}));
  return 0;
}
