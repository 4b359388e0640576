#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

#include "harness/op_spec.hpp"

namespace wick::testing {

/// Every way to lie in memory but the plain one, with its name in a case's name.
struct NamedLay {
  Lay lay;
  std::string name;
};

inline const std::vector<NamedLay>& odd_lays() {
  static const std::vector<NamedLay> kLays = {
      {Lay::kPaddedRows, "padded_rows"}, {Lay::kStrided, "strided"},
      {Lay::kTransposed, "transposed"},  {Lay::kRepeated, "repeated"},
      {Lay::kOffset, "offset"},          {Lay::kMisaligned, "misaligned"}};
  return kLays;
}

/// The layouts of a dense tensor.
inline const std::vector<NamedLay>& dense_lays() {
  static const std::vector<NamedLay> kLays = {{Lay::kOffset, "offset"},
                                              {Lay::kMisaligned, "misaligned"}};
  return kLays;
}

/// A number as an op sees it that rounds its options to f32.
inline double as_f32(double value) { return static_cast<double>(static_cast<float>(value)); }

}  // namespace wick::testing
