#pragma once

#include <cstdint>

namespace wick {
namespace mps {

enum Activation : uint32_t { kActivationSilu, kActivationGeluErf, kActivationGeluTanh };

struct ActivationKargs {
  int64_t numel;
};

struct SwigluKargs {
  int64_t gate_stride;  ///< from row to row
  int64_t up_stride;
};

}  // namespace mps
}  // namespace wick
