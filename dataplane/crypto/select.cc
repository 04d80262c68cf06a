#include "dataplane/crypto/select.h"

#include <algorithm>

#include "dataplane/crypto/aead_ipsecmb.h"
#include "dataplane/crypto/aead_lanes.h"
#include "dataplane/crypto/aead_sodium.h"
#include "dataplane/crypto/self_test.h"

namespace sluice {
namespace {

struct Candidate {
  std::string_view name;
  std::unique_ptr<AeadEngine> (*make)();  // nullptr: not on this CPU
};

// In the order of preference where none is clearly faster; of candidates with one name the first that passes the
// self-test is used. A new engine is one line here.
constexpr Candidate kCandidates[] = {
    {kLanesEngine, make_lanes_engine},
    {kLanesAvx512IfmaEngine, make_lanes_engine_avx512ifma},
    {kLanesAvx512Engine, make_lanes_engine_avx512},
    {kLanesAvx2Engine, make_lanes_engine_avx2},
    {kIpsecMbEngine, make_ipsec_mb_engine},
    {kIpsecMbEngine, make_ipsec_mb_engine_avx2},
    {kSodiumEngine, make_sodium_engine},
};

std::unique_ptr<AeadEngine> make_if_sound(const Candidate& candidate) {
  std::unique_ptr<AeadEngine> engine = candidate.make();
  return engine && self_test(*engine) ? std::move(engine) : nullptr;
}

}  // namespace

std::vector<std::string_view> available_engines() {
  std::vector<std::string_view> names;
  for (const Candidate& candidate : kCandidates)
    if (std::ranges::find(names, candidate.name) == names.end() && make_if_sound(candidate))
      names.push_back(candidate.name);
  return names;
}

std::unique_ptr<AeadEngine> make_engine(std::string_view name) {
  if (name.empty()) name = fastest_engine(engine_speeds());
  for (const Candidate& candidate : kCandidates)
    if (name == candidate.name)
      if (auto engine = make_if_sound(candidate)) return engine;
  return nullptr;
}

const std::vector<EngineSpeed>& engine_speeds() {
  static const std::vector<EngineSpeed> speeds = [] {
    std::vector<std::unique_ptr<AeadEngine>> engines;
    for (std::string_view name : available_engines()) engines.push_back(make_engine(name));
    return measure_engines(engines);
  }();
  return speeds;
}

}  // namespace sluice
