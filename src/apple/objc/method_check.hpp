#pragma once

#include "apple/objc/selectors.hpp"
#include "wick/apple/objc.hpp"

namespace wick::apple::objc {

/// Looks up one method in the running system.
MethodCheck check_method(const SelectorRow& row);

}  // namespace wick::apple::objc
