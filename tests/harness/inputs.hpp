#pragma once

#include <string_view>
#include <vector>

#include "harness/op_spec.hpp"

namespace wick::testing {

/// The element nearest to `value` that `dtype` can hold, as a double.
double round_to(DType dtype, double value);

/// Unit roundoff: half the distance from 1 to the next number (0 for integers).
double unit_roundoff(DType dtype);

/// Largest finite number.
double largest(DType dtype);

/// A seed that depends on nothing but the names.
std::uint64_t seed_of(std::string_view op, std::string_view name);

/// The elements of each input of a case, rounded to its dtype.
std::vector<Array> make_arrays(const OpCase& op_case, DType dtype, std::uint64_t seed);

/// A tensor with these elements, lying as asked.
Tensor make_tensor(const Array& array, DType dtype, Lay lay, Device device);

/// Tensors of all inputs.
std::vector<Tensor> make_tensors(const OpCase& op_case, const std::vector<Array>& arrays,
                                 DType dtype, Device device);

/// The elements of any tensor.
Array to_array(const Tensor& tensor);

}  // namespace wick::testing
