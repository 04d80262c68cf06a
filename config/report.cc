#include "config/report.h"

#include <algorithm>
#include <utility>

namespace sluice::config {
namespace {

std::vector<Diagnostic> in_file_order(std::vector<Diagnostic> found) {
  std::ranges::stable_sort(found, {}, &Diagnostic::at);
  return found;
}

}  // namespace

std::string to_string(const Diagnostic& diagnostic) {
  std::string text = diagnostic.file;
  if (diagnostic.at.line != 0)
    text += ":" + std::to_string(diagnostic.at.line) + ":" + std::to_string(diagnostic.at.column);
  if (!diagnostic.field.empty()) text += ": " + diagnostic.field;
  return text + ": " + diagnostic.what;
}

void Report::error(Position at, std::string field, std::string what) {
  errors_.push_back({file_, at, std::move(field), std::move(what)});
}

void Report::warning(Position at, std::string field, std::string what) {
  warnings_.push_back({file_, at, std::move(field), std::move(what)});
}

std::vector<Diagnostic> Report::take_errors() { return in_file_order(std::exchange(errors_, {})); }

std::vector<Diagnostic> Report::take_warnings() { return in_file_order(std::exchange(warnings_, {})); }

}  // namespace sluice::config
