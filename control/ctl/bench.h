// `sluice bench`: becomes the program sluice-bench, which is installed beside sluice but shares nothing with it.
#pragma once

#include <string>
#include <vector>

#include "dataplane/base/result.h"

namespace sluice::ctl {

// Runs `sluice-bench` of that directory, or else of PATH, in place of this process. Returns only if there is none.
Error become_bench(const std::string& directory, const std::vector<std::string>& arguments);

}  // namespace sluice::ctl
