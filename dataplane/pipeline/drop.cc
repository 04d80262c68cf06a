#include "dataplane/pipeline/drop.h"

namespace sluice {
namespace {

struct Reason {
  std::string_view name, text;
};
constexpr std::array<Reason, kDropReasons> kReasons{{
#define SLUICE_X(name, text) Reason{#name, text},
    SLUICE_DROP_REASONS(SLUICE_X)
#undef SLUICE_X
}};

}  // namespace

std::string_view drop_name(Drop reason) noexcept { return kReasons[static_cast<size_t>(reason)].name; }
std::string_view drop_text(Drop reason) noexcept { return kReasons[static_cast<size_t>(reason)].text; }

}  // namespace sluice
