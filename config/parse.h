// TOML text -> model: form, types and ranges of each field on its own, key files included. Rules that look at several
// fields are validate.h's.
#pragma once

#include <string>
#include <string_view>

#include "config/model.h"
#include "config/report.h"

namespace sluice::config {

// What is wrong goes to the report; the rest of the model is filled in as far as it can be, so that validation can
// still find what else is wrong. Key files are relative to the directory of `path`.
Model parse(std::string_view text, const std::string& path, Report& report);

}  // namespace sluice::config
