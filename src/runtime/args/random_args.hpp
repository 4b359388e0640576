#pragma once

#include <cstdint>

#include "layout/tensor_view.hpp"

namespace wick {

/// Which numbers of the Philox stream a kernel draws: element i uses lane i mod 4 of counter
/// offset + i / 4. `offset_base` ([] i64, may be absent) is added to the offset when the kernel runs,
/// so that a captured graph draws new numbers each time.
struct RandomKeyArgs {
  std::uint64_t seed = 0;
  std::uint64_t offset = 0;
  TensorView offset_base;
};

/// Uniform: out in [a, b). Normal: mean a, standard deviation b. out dense, floating.
struct RandomArgs {
  TensorView out;
  RandomKeyArgs key;
  double a = 0;
  double b = 1;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("out", out);
    visit("offset_base", key.offset_base);
  }
};

/// out = x · keep / (1 − p), where element i is kept when its uniform number is >= p. Dense, same
/// shape and floating dtype; out may be x.
struct DropoutArgs {
  TensorView x, out;
  RandomKeyArgs key;
  double p = 0;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("x", x);
    visit("out", out);
    visit("offset_base", key.offset_base);
  }
};

}  // namespace wick
