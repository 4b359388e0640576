#pragma once

#include "wick/base/error.hpp"
#include "wick/layout/device.hpp"

namespace wick {

/// What a backend throws where work that is being captured would wait for the host, or take values from it that a repetition
/// would find gone.
inline Error host_in_capture(Device device) {
  return {ErrorKind::kUnsupported, "stream",
          to_string(device) + " cannot read or write values of the host while it captures"};
}

}  // namespace wick
