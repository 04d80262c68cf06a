// The rules that look at more than one field, or at the machine.
#pragma once

#include "config/load.h"
#include "config/model.h"
#include "config/report.h"

namespace sluice::config {

// Also makes sense of a model with holes, as parse() leaves it after errors: a hole is not reported a second time.
void validate(const Model& model, const Machine& machine, Report& report);

}  // namespace sluice::config
