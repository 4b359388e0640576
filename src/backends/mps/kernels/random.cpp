#include <cmath>

#include "backends/mps/dispatch.hpp"
#include "backends/mps/kernels/random_kargs.hpp"
#include "backends/mps/mps_kernels.hpp"
#include "backends/mps/random_rules.hpp"
#include "runtime/args/random_args.hpp"
#include "wick/base/float16.hpp"

namespace wick::mps {

static_assert(sizeof(UniformKargs) == 48 && sizeof(NormalKargs) == 40 &&
              sizeof(DropoutKargs) == 40);

namespace {

constexpr std::int64_t kWords = 4;  // of a counter

float rounded_to(DType dtype, float value) {
  if (dtype == DType::kF16) return static_cast<float>(Half(value));
  if (dtype == DType::kBF16) return static_cast<float>(BFloat16(value));
  return value;
}

// The largest number of the dtype below `bound`: the neighbours of its rounding in f32 come in ever larger steps, until
// one rounds to less.
float largest_below(DType dtype, double bound) {
  const auto nearest = static_cast<float>(bound);
  if (double{rounded_to(dtype, nearest)} < bound) return rounded_to(dtype, nearest);
  float distance = std::fmax(nearest - std::nextafter(nearest, -HUGE_VALF), 0x1p-149F);
  while (double{rounded_to(dtype, nearest - distance)} >= bound) distance *= 2;
  return rounded_to(dtype, nearest - distance);
}

}  // namespace

KernelStatus random_uniform(Stream& stream, const RandomArgs& args) {
  const std::int64_t n = args.out.numel();
  if (n == 0) return KernelStatus::ok();
  const auto low = static_cast<float>(args.a);
  const float width = static_cast<float>(args.b) - low;
  Dispatch(stream, {"random", "random_uniform", {dtype_of(args.out)}})
      .buffer(args.out)
      .buffer(args.key.offset_base)
      .value(UniformKargs{random_key(args.key), n, low, width,
                          largest_below(args.out.dtype, args.b), 0})
      .items(ceil_div(n, kWords));
  return KernelStatus::ok();
}

KernelStatus random_normal(Stream& stream, const RandomArgs& args) {
  const std::int64_t n = args.out.numel();
  if (n == 0) return KernelStatus::ok();
  Dispatch(stream, {"random", "random_normal", {dtype_of(args.out)}})
      .buffer(args.out)
      .buffer(args.key.offset_base)
      .value(NormalKargs{random_key(args.key), n, static_cast<float>(args.a),
                         static_cast<float>(args.b)})
      .items(ceil_div(n, kWords));
  return KernelStatus::ok();
}

KernelStatus dropout(Stream& stream, const DropoutArgs& args) {
  const std::int64_t n = args.x.numel();
  if (n == 0) return KernelStatus::ok();
  Dispatch(stream, {"random", "dropout", {dtype_of(args.x)}})
      .buffer(args.x)
      .buffer(args.out)
      .buffer(args.key.offset_base)
      .value(DropoutKargs{random_key(args.key), n, dropout_rule(args.p)})
      .items(ceil_div(n, kWords));
  return KernelStatus::ok();
}

void add_dropped(Stream& stream, const void* update, const TensorView& out, double p,
                 const RandomKeyArgs& key) {
  const std::int64_t n = out.numel();
  if (n == 0) return;
  Dispatch(stream, {"random", "dropout_add", {dtype_of(out)}})
      .memory(update)
      .buffer(out)
      .buffer(key.offset_base)
      .value(DropoutKargs{random_key(key), n, dropout_rule(p)})
      .items(ceil_div(n, kWords));
}

}  // namespace wick::mps
