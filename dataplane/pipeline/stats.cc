#include "dataplane/pipeline/stats.h"

namespace sluice {
namespace {

constexpr std::array<std::string_view, kStages> kStageNames{{
#define SLUICE_X(name) #name,
    SLUICE_STAGES(SLUICE_X)
#undef SLUICE_X
}};

}  // namespace

std::string_view stage_name(Stage stage) noexcept { return kStageNames[static_cast<size_t>(stage)]; }

}  // namespace sluice
