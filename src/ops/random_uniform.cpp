#include <cmath>

#include "ops/random_key.hpp"
#include "runtime/launch.hpp"

namespace wick {

Tensor random_uniform(const Shape& shape, DType dtype, const RandomKey& key, double low,
                      double high, Device device) {
  const detail::Check check("random_uniform", {});
  check.that(is_floating(dtype), ErrorKind::kDtype, "the dtype must be f32, f16 or bf16, got {}",
             to_string(dtype));
  check.that(std::isfinite(low) && std::isfinite(high) && low < high, ErrorKind::kArgument,
             "low must be below high and both finite, got {} and {}", low, high);
  const RandomKeyArgs draws = detail::key_args(check, key, device);
  Tensor out = Tensor::empty(shape, dtype, device);
  launch(kernels::random_uniform, device,
         RandomArgs{.out = detail::view(out), .key = draws, .a = low, .b = high});
  return out;
}

}  // namespace wick
