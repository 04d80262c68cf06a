#include "config/render.h"

#include <algorithm>

#include "config/fields.h"

namespace sluice::config {
namespace {

std::string block(std::string_view header, const std::vector<Field>& fields) {
  size_t widest = 0;
  for (const Field& field : fields) widest = std::max(widest, field.key.size());
  std::string text = std::string(header) + "\n";
  for (const Field& field : fields)
    text += std::string(field.key) + std::string(widest - field.key.size(), ' ') + " = " + field.value + "\n";
  return text;
}

}  // namespace

std::string render(const Model& model) {
  std::string text = block("[gateway]", fields_of(model.gateway));
  for (const Port& port : model.ports) text += "\n" + block("[[port]]", fields_of(port));
  for (const Route& route : model.routes) text += "\n" + block("[[route]]", fields_of(route));
  for (const Tunnel& tunnel : model.tunnels) {
    text += "\n" + block("[[tunnel]]", fields_of(tunnel));
    for (const Peer& peer : tunnel.peers) text += "\n" + block("[[tunnel.peer]]", fields_of(peer));
  }
  return text;
}

}  // namespace sluice::config
