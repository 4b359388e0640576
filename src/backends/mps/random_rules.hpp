#pragma once

#include <cstdint>

#include "backends/mps/kernels/philox_kargs.hpp"
#include "base/philox.hpp"
#include "layout/tensor_view.hpp"
#include "runtime/args/random_args.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::mps {

static_assert(sizeof(RandomKey) == 24 && sizeof(DropoutRule) == 8);

/// RandomKeyArgs as kernels take it.
inline RandomKey random_key(const RandomKeyArgs& args) {
  const PhiloxKey key = philox_key(args.seed);
  return {args.offset, {key[0], key[1]}, args.offset_base ? 1 : 0, 0};
}

inline DropoutRule dropout_rule(double p) {
  return {dropout_threshold(p), static_cast<float>(1.0 / (1.0 - p))};
}

/// Enqueues out += drop(update) in float32 sums; `out` is dense, `update` as many floats.
void add_dropped(Stream& stream, const void* update, const TensorView& out, double p,
                 const RandomKeyArgs& key);

}  // namespace wick::mps
