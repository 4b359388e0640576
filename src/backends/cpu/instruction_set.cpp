#include "backends/cpu/instruction_set.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/instruction_set.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cctype>
#include <string>
#include <vector>

#include "wick/base/error.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

std::int64_t this_target() { return HWY_TARGET; }

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick::cpu {

HWY_EXPORT(this_target);

namespace {

struct Target {
  std::int64_t bit;
  std::string name;
};

// Highway numbers targets so that a better one has a lower bit.
const std::vector<Target>& targets() {
  static const std::vector<Target> usable = [] {
    std::vector<Target> found;
    for (const std::int64_t bit : hwy::SupportedAndGeneratedTargets()) {
      std::string name = hwy::TargetName(bit);
      std::ranges::transform(name, name.begin(),
                             [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      found.push_back({bit, std::move(name)});
    }
    std::ranges::sort(found, {}, &Target::bit);
    return found;
  }();
  return usable;
}

}  // namespace

std::span<const std::string_view> instruction_sets() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> list;
    for (const Target& target : targets()) list.push_back(target.name);
    return list;
  }();
  return names;
}

void select_instruction_set(std::string_view name) {
  std::int64_t mask = 0;
  for (const Target& target : targets()) {
    if (name.empty() || target.name == name) mask |= target.bit;
  }
  if (mask == 0) {
    std::string known;
    for (const Target& target : targets()) known += " " + target.name;
    throw Error(ErrorKind::kArgument, "force_variant",
                "isa \"" + std::string(name) + "\" is not one of those usable here:" + known);
  }
  hwy::SetSupportedTargetsForTest(mask);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

std::string_view active_instruction_set() {
  const std::int64_t bit = HWY_DYNAMIC_DISPATCH(this_target)();
  for (const Target& target : targets()) {
    if (target.bit == bit) return target.name;
  }
  return "unknown";
}

}  // namespace wick::cpu
#endif  // HWY_ONCE
