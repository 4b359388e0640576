#include "cases/binary_cases.hpp"
#include "reference/add_ref.hpp"
#include "reference/sub_ref.hpp"
#include "wick/ops/arithmetic.hpp"

namespace wick::testing {

namespace {

constexpr auto kUnsigned = [](auto a, auto b) { return a - b; };

const binary::Binary kBinary = {
    .op = &wick::sub,
    .reference = &reference::sub_ref,
    .wrapping_i32 =
        [](const Array& a, const Array& b) {
          return reference::wrapping_apply<std::int32_t>(a, b, kUnsigned);
        },
    .wrapping_i64 =
        [](const Array& a, const Array& b) {
          return reference::wrapping_apply<std::int64_t>(a, b, kUnsigned);
        },
};

}  // namespace

OpSpec spec_sub() {
  return {.op = "sub",
          .dtypes = kFloatingAndIntegers,
          .cases = binary::cases(kBinary),
          .errors = binary::errors(kBinary)};
}

}  // namespace wick::testing
