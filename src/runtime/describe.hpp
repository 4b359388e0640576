#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "layout/tensor_view.hpp"
#include "wick/base/error.hpp"

namespace wick {

/// A view as an operand of an error.
Operand describe(std::string_view name, const TensorView& view);

/// Every view of a kernel's args that was given, in order.
template <class Args>
std::vector<Operand> describe(const Args& args) {
  std::vector<Operand> operands;
  args.for_each_view([&](std::string_view name, const TensorView& view) {
    if (view) operands.push_back(describe(name, view));
  });
  return operands;
}

}  // namespace wick
