#pragma once

// One list of cases per op: the correctness test, the gradient test, the benchmark and the support table all
// read it.

#include <functional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "reference/array.hpp"
#include "wick/base/error.hpp"
#include "wick/layout/device.hpp"
#include "wick/layout/dtype.hpp"
#include "wick/tensor/tensor.hpp"

namespace wick::testing {

using reference::Array;
using Rng = std::mt19937_64;

/// Makes the i-th of n elements of an input; the harness then rounds it to the input's dtype.
using Values = std::function<double(Rng& rng, std::int64_t i, std::int64_t n)>;

Values normal(double std = 1, double mean = 0);
Values uniform(double low, double high);
/// Whole numbers of [low, high).
Values integers(std::int64_t low, std::int64_t high);
Values constant(double value);
/// These numbers, repeated.
Values listed(std::vector<double> values);
/// Normal numbers with NaN, ±∞, ±0, the largest and smallest ones strewn in.
Values specials();

/// How an input lies in memory.
enum class Lay {
  kDense,
  kPaddedRows,  ///< rows (last axis dense) further apart than they are long
  kStrided,     ///< every other element along the last axis
  kTransposed,  ///< the last two axes exchanged in memory
  kRepeated,    ///< the first axis repeats one element (stride 0)
  kOffset,      ///< dense, one element into its memory
  kMisaligned,  ///< dense, one byte into its memory (host memory only)
};

/// One operand of a case.
struct Input {
  std::string name;
  Shape shape;
  Values values = normal();
  Lay lay = Lay::kDense;
  /// Fixed dtype; without it the dtype under test. kF32 for a weight kept in f32, kI64 for indices, …
  std::vector<DType> fixed_dtype = {};
  /// Whether the gradient test differentiates this operand.
  bool differentiable = true;

  DType dtype(DType under_test) const {
    return fixed_dtype.empty() ? under_test : fixed_dtype.front();
  }
};

/// How far a result may be from its double reference r_i:
///   tol_i = 2 u(out) |r_i|  +  u(f32) (8 + 2 √length) condition · s_i  +  roundings · u(case) · s_i  +  tiny(out),
/// u being the unit roundoff, s_i the magnitude (largest |r| of that output unless given).
struct Tolerance {
  double length = 1;     ///< longest reduction
  double condition = 1;  ///< how much the op amplifies rounding of its inputs' size
  double roundings = 0;  ///< intermediate roundings to the dtype under test
  /// Per output and element, for results that cancel: usually the reference on absolute values.
  std::function<std::vector<Array>(std::span<const Array>)> magnitude = {};
};

/// One call of an op.
struct OpCase {
  std::string name;
  std::vector<Input> inputs;
  /// Calls the op; several results in the reference's order. In-place ops return what they changed.
  std::function<std::vector<Tensor>(std::span<const Tensor>)> run;
  /// The same in double.
  std::function<std::vector<Array>(std::span<const Array>)> reference;
  Tolerance tolerance = {};
  /// False where the derivative does not exist or the inputs are not finite.
  bool gradient = true;
  /// Tolerance of gradients is that of Tolerance with these, relative to the largest element.
  double gradient_length = 0;     ///< 0: tolerance.length
  double gradient_condition = 0;  ///< 0: tolerance.condition
  /// Only these dtypes; empty means those of the op.
  std::vector<DType> only_dtypes = {};
  /// For the benchmark: cases with bytes or FLOP are timed, and those marked are only timed.
  double flops = 0;
  /// compulsory traffic in elements of the dtype under test
  double bytes_per_element_of_dtype = 0;
  bool benchmark_only = false;
};

/// A call that must be refused.
struct ErrorCase {
  std::string name;
  ErrorKind kind;
  std::vector<std::string> text;  ///< each must occur in what()
  std::function<void()> call;
};

/// Everything the tools know about an op.
struct OpSpec {
  std::string op;
  std::vector<DType> dtypes;
  std::vector<OpCase> cases;
  std::vector<ErrorCase> errors;
};

inline const std::vector<DType> kFloating = {DType::kF32, DType::kF16, DType::kBF16};
inline const std::vector<DType> kFloatingAndIntegers = {DType::kF32, DType::kF16, DType::kBF16,
                                                        DType::kI32, DType::kI64};

// spec_<op>() for every op of the catalog: one without cases does not link.
#define WICK_OP(id, gradient) OpSpec spec_##id();
#include "runtime/op_catalog.def"

/// All of them, in the order of the catalog.
std::vector<OpSpec> all_specs();

/// How the catalog says an op treats gradients: "differentiable", "no_gradient", "in_place".
std::string gradient_kind(std::string_view op);

}  // namespace wick::testing
