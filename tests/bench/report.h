// What a measurement yields, and how it is shown: a table for people, JSON for scripts and the plot.
#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace sluice::bench {

using Cell = std::variant<std::string, double>;

struct Table {
  std::string title;
  std::vector<std::string> columns;  // as the JSON names them; underscores are printed as spaces
  std::vector<std::vector<Cell>> rows;
};

enum class Bound { kAtLeast, kAtMost };

// A figure that the project promises to reach.
struct Goal {
  std::string name;
  double figure;
  Bound bound;
  double target;
  bool met() const noexcept { return bound == Bound::kAtLeast ? figure >= target : figure <= target; }
};

struct Outcome {
  std::vector<std::pair<std::string, std::string>> about;  // what was measured on and with: engine, buffers ...
  std::vector<Table> tables;
  std::vector<Goal> goals;
};

void print(const Outcome& outcome);  // tables, then goals, to standard output
void print_goals(const std::vector<Goal>& goals);

// Throws std::runtime_error if the file cannot be written.
void write_json(const std::string& path, const std::string& command, const Outcome& outcome);

// "Intel(R) Xeon(R) Processor @ 2.50GHz"
std::string cpu_model();

}  // namespace sluice::bench
