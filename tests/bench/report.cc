#include "tests/bench/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace sluice::bench {
namespace {

std::string number(double value) {
  const double size = value < 0 ? -value : value;
  if (size >= 1'000'000) return fmt::format("{:.2f} M", value / 1e6);
  if (size >= 1000) return fmt::format("{:.0f}", value);
  return size >= 100 ? fmt::format("{:.1f}", value) : fmt::format("{:.2f}", value);
}

std::string text_of(const Cell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  return number(std::get<double>(cell));
}

std::string heading(std::string column) {
  std::ranges::replace(column, '_', ' ');
  return column;
}

void print_cell(const std::string& text, size_t width, bool left) {
  left ? fmt::print("  {:<{}}", text, width) : fmt::print("  {:>{}}", text, width);
}

void print_table(const Table& table) {
  std::vector<size_t> widths;
  for (size_t c = 0; c < table.columns.size(); ++c) {
    size_t width = heading(table.columns[c]).size();
    for (const auto& row : table.rows) width = std::max(width, text_of(row[c]).size());
    widths.push_back(width);
  }
  const auto is_text = [&](size_t c) { return !table.rows.empty() && table.rows[0][c].index() == 0; };
  fmt::print("\n{}\n", table.title);
  for (size_t c = 0; c < widths.size(); ++c) print_cell(heading(table.columns[c]), widths[c], is_text(c));
  fmt::print("\n");
  for (const auto& row : table.rows) {
    for (size_t c = 0; c < widths.size(); ++c) print_cell(text_of(row[c]), widths[c], is_text(c));
    fmt::print("\n");
  }
}

std::string target_of(const Goal& goal) {
  return fmt::format("{} {:g}", goal.bound == Bound::kAtLeast ? "at least" : "at most", goal.target);
}

nlohmann::json json_of(const Table& table) {
  nlohmann::json rows = nlohmann::json::array();
  for (const auto& row : table.rows) {
    nlohmann::json object;
    for (size_t c = 0; c < row.size(); ++c)
      std::visit([&](const auto& value) { object[table.columns[c]] = value; }, row[c]);
    rows.push_back(std::move(object));
  }
  return {{"title", table.title}, {"rows", std::move(rows)}};
}

nlohmann::json json_of(const Goal& goal) {
  return {{"name", goal.name},
          {"figure", goal.figure},
          {"bound", goal.bound == Bound::kAtLeast ? "at least" : "at most"},
          {"target", goal.target},
          {"met", goal.met()}};
}

}  // namespace

void print(const Outcome& outcome) {
  fmt::print("cpu: {}\n", cpu_model());
  for (const auto& [what, value] : outcome.about) fmt::print("{}: {}\n", what, value);
  for (const Table& table : outcome.tables) print_table(table);
  if (!outcome.goals.empty()) print_goals(outcome.goals);
}

void print_goals(const std::vector<Goal>& goals) {
  size_t width = 0;
  for (const Goal& goal : goals) width = std::max(width, goal.name.size());
  fmt::print("\n");
  for (const Goal& goal : goals)
    fmt::print("{:<{}}  {:>8}  {:<14}  {}\n", goal.name, width, number(goal.figure), target_of(goal),
               goal.met() ? "ok" : "short");
}

void write_json(const std::string& path, const std::string& command, const Outcome& outcome) {
  nlohmann::json document{{"command", command}, {"cpu", cpu_model()}};
  for (const auto& [what, value] : outcome.about) document[what] = value;
  document["tables"] = nlohmann::json::array();
  for (const Table& table : outcome.tables) document["tables"].push_back(json_of(table));
  document["goals"] = nlohmann::json::array();
  for (const Goal& goal : outcome.goals) document["goals"].push_back(json_of(goal));
  std::ofstream file(path);
  file << document.dump(1) << "\n";
  if (!file.flush()) throw std::runtime_error(path + ": cannot be written");
}

std::string cpu_model() {
  std::ifstream cpus("/proc/cpuinfo");
  for (std::string line; std::getline(cpus, line);) {
    if (!line.starts_with("model name")) continue;
    const size_t colon = line.find(':');
    if (colon != std::string::npos && colon + 2 <= line.size()) return line.substr(colon + 2);
  }
  return "unknown";
}

}  // namespace sluice::bench
