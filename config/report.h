// What is wrong with a configuration: collected, never stopped at, so that one run tells everything.
#pragma once

#include <string>
#include <vector>

#include "config/model.h"

namespace sluice::config {

struct Diagnostic {
  std::string file;
  Position at;        // line 0: the file as a whole
  std::string field;  // "tunnel.peer.public-key", as TOML headers and keys read; may be empty
  std::string what;   // what is wrong, what is allowed; one line
};
// "file:line:column: field: what"
std::string to_string(const Diagnostic& diagnostic);

class Report {
 public:
  explicit Report(std::string file) : file_(std::move(file)) {}
  void error(Position at, std::string field, std::string what);
  void warning(Position at, std::string field, std::string what);
  bool has_errors() const { return !errors_.empty(); }

  // In file order. They empty the report.
  std::vector<Diagnostic> take_errors();
  std::vector<Diagnostic> take_warnings();

 private:
  std::string file_;
  std::vector<Diagnostic> errors_;
  std::vector<Diagnostic> warnings_;
};

}  // namespace sluice::config
