#include "backends/cpu/row_partials.hpp"

#include "backends/cpu/dtype_switch.hpp"
#include "layout/view_cast.hpp"

namespace wick::cpu {

void sum_row_partials(const float* partials, const TensorView& out) {
  const std::int64_t D = out.numel();
  switch_floating(out.dtype, [&]<class T>(std::type_identity<T>) {
    T* const result = data_as<T>(out);
    for (std::int64_t d = 0; d < D; ++d) {
      float sum = 0;
      for (std::int64_t k = 0; k < kRowPartials; ++k) sum += partials[k * D + d];
      result[d] = static_cast<T>(sum);
    }
  });
}

AsFloat::AsFloat(Stream& stream, const TensorView& view)
    : copy_(stream, view && view.dtype != DType::kF32 ? view.numel() : 0), data_(copy_.data()) {
  if (!view) return;
  if (view.dtype == DType::kF32) {
    data_ = data_as<const float>(view);
    return;
  }
  switch_floating(view.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const source = data_as<const T>(view);
    for (std::int64_t i = 0; i < view.numel(); ++i) copy_[i] = static_cast<float>(source[i]);
  });
}

}  // namespace wick::cpu
