#include "backends/cpu/exponentials.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/exponentials.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/exp-inl.hpp"
#include "backends/cpu/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

void exponentials_of_row(float* x, std::int64_t n) {
  for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    store_some(exp_or_nan(load_some(x + i, count)), x + i, count);
  });
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick::cpu {

HWY_EXPORT(exponentials_of_row);

void exponentials(float* x, std::int64_t n) { HWY_DYNAMIC_DISPATCH(exponentials_of_row)(x, n); }

}  // namespace wick::cpu
#endif  // HWY_ONCE
