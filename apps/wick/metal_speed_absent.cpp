#include "metal_speed.hpp"
#include "wick/base/error.hpp"

namespace wick::cli {

namespace {

[[noreturn]] void fail() {
  throw Error(ErrorKind::kDevice, "selftest",
              "this build of Wick was made without Metal (WICK_APPLE)");
}

}  // namespace

bool is_software_metal() { fail(); }
std::string metal_system_version() { fail(); }
std::vector<apple::MethodCheck> metal_methods() { fail(); }
std::vector<std::string> metal_speed(const MetalSpeedOptions& /*options*/,
                                     const std::function<void(const MetalTiming&)>& /*sink*/) {
  fail();
}

}  // namespace wick::cli
