// Reads the JSON test vectors under tests/vectors. Heavy (nlohmann/json): for test sources only.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

namespace sluice::test {

// Return it into a variable: a range-for over a part of a temporary would read freed memory.
inline nlohmann::json load_vectors(const std::string& name) {
  std::ifstream file(std::string(SLUICE_VECTORS) + "/" + name);
  if (!file) throw std::runtime_error("no test vectors " + name);
  return nlohmann::json::parse(file);
}

}  // namespace sluice::test
