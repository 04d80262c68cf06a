#include "control/ctl/table.h"

#include <algorithm>

namespace sluice::ctl {
namespace {

std::string padded(std::string_view text, size_t width, bool to_the_right) {
  const std::string space(width - text.size(), ' ');
  return to_the_right ? space + std::string(text) : std::string(text) + space;
}

}  // namespace

std::string Table::text() const {
  std::vector<std::string> titles;
  for (const Column& column : columns_) titles.emplace_back(column.title);
  std::vector<size_t> widths(columns_.size());
  const auto widen = [&](const std::vector<std::string>& row) {
    for (size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], row.at(i).size());
  };
  widen(titles);
  std::ranges::for_each(rows_, widen);

  std::string result;
  const auto append = [&](const std::vector<std::string>& row) {
    std::string line = indent_;
    for (size_t i = 0; i < widths.size(); ++i) line += (i ? "  " : "") + padded(row[i], widths[i], columns_[i].numeric);
    line.erase(line.find_last_not_of(' ') + 1);
    result += line + "\n";
  };
  append(titles);
  std::ranges::for_each(rows_, append);
  return result;
}

}  // namespace sluice::ctl
