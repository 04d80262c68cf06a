// The fields of each table as TOML key and value, every default filled in: what render() prints and diff() compares.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/model.h"

namespace sluice::config {

struct Field {
  std::string_view key;
  std::string value;  // as TOML; a secret in the file is "(hidden)"
};

// Peers are not among the fields of their tunnel. An optional field that is not set is left out.
std::vector<Field> fields_of(const Gateway& gateway);
std::vector<Field> fields_of(const Port& port);
std::vector<Field> fields_of(const Route& route);
std::vector<Field> fields_of(const Tunnel& tunnel);
std::vector<Field> fields_of(const Peer& peer);

}  // namespace sluice::config
