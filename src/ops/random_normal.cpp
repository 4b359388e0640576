#include <cmath>

#include "ops/random_key.hpp"
#include "runtime/launch.hpp"

namespace wick {

Tensor random_normal(const Shape& shape, DType dtype, const RandomKey& key, double mean, double std,
                     Device device) {
  const detail::Check check("random_normal", {});
  check.that(is_floating(dtype), ErrorKind::kDtype, "the dtype must be f32, f16 or bf16, got {}",
             to_string(dtype));
  check.that(std::isfinite(mean) && std::isfinite(std) && std >= 0, ErrorKind::kArgument,
             "mean must be finite and std finite and not negative, got {} and {}", mean, std);
  const RandomKeyArgs draws = detail::key_args(check, key, device);
  Tensor out = Tensor::empty(shape, dtype, device);
  launch(kernels::random_normal, device,
         RandomArgs{.out = detail::view(out), .key = draws, .a = mean, .b = std});
  return out;
}

}  // namespace wick
