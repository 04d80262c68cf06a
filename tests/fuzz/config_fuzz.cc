// Any text either loads or says why not, in single lines; what loads renders to a text that loads as the same model.
// A good corpus to begin with: config/examples.
#include <cstdint>
#include <cstdlib>

#include "config/diff.h"
#include "config/load.h"
#include "config/render.h"

namespace {

using namespace sluice;

void require(bool holds) {
  if (!holds) std::abort();
}

void require_single_lines(const std::vector<config::Diagnostic>& found) {
  for (const config::Diagnostic& diagnostic : found)
    for (const char c : to_string(diagnostic)) require(static_cast<unsigned char>(c) >= 0x20);
}

bool has_secrets_in_text(const config::Model& model) {  // which rendering masks
  for (const config::Tunnel& tunnel : model.tunnels) {
    if (tunnel.private_key_file.empty()) return true;
    for (const config::Peer& peer : tunnel.peers)
      if (!peer.preshared_key.is_zero() && peer.preshared_key_file.empty()) return true;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const config::Machine machine{{0, 1, 2, 3}};
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const config::Loaded loaded = config::load_text(text, "f", machine);
  require((loaded.model == nullptr) != loaded.errors.empty());
  require_single_lines(loaded.errors);
  require_single_lines(loaded.warnings);
  if (!loaded.model) return 0;

  require(config::diff(*loaded.model, *loaded.model).empty());
  if (has_secrets_in_text(*loaded.model)) return 0;
  const std::string rendered = config::render(*loaded.model);
  const config::Loaded again = config::load_text(rendered, "f", machine);
  require(again.model != nullptr);
  require(config::diff(*loaded.model, *again.model).empty());
  return 0;
}
