// The effective configuration as TOML: every default filled in, secrets masked. For people; a masked file does not
// load.
#pragma once

#include <string>

#include "config/model.h"

namespace sluice::config {

std::string render(const Model& model);

}  // namespace sluice::config
