// Aligned columns of text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sluice::ctl {

struct Column {
  std::string_view title;
  bool numeric = false;  // to the right
};

class Table {
 public:
  explicit Table(std::vector<Column> columns, std::string indent = "")
      : columns_(std::move(columns)), indent_(std::move(indent)) {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.empty(); }
  std::string text() const;  // titles and rows, each line ended; the last column is not padded

 private:
  std::vector<Column> columns_;
  std::string indent_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace sluice::ctl
