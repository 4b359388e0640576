#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/kernels/cross_entropy.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "backends/cpu/cpu_kernels.hpp"
#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/dtype_switch.hpp"
#include "backends/cpu/scratch.hpp"
#include "backends/cpu/simd-inl.hpp"
#include "backends/cpu/softmax_rows-inl.hpp"
#include "layout/view_cast.hpp"
#include "runtime/args/cross_entropy_args.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

// (1 − ε)(lse − z[t]) + ε (lse − mean z) for one row; lse becomes log Σ exp z.
template <class T>
double cross_entropy_row(const T* z, std::int64_t V, std::int64_t target, double epsilon,
                         double& lse) {
  const RowExponentials row = row_exponentials(z, V);
  if (row.max == -kInfinity) {  // no class has any probability, the target neither
    lse = static_cast<double>(-kInfinity);
    return static_cast<double>(kInfinity);
  }
  lse = static_cast<double>(row.max) + std::log(row.sum);
  const double loss = lse - static_cast<double>(static_cast<float>(z[target]));
  if (epsilon == 0) return loss;  // the mean may be −∞, and 0 · ∞ is not 0
  const double mean = sum_in_blocks(V, [&](std::int64_t i, std::int64_t n)
                                           HWY_ATTR { return load_some(z + i, n); }) /
                      static_cast<double>(V);
  return (1 - epsilon) * loss + epsilon * (lse - mean);
}

// dz = c (exp(z − lse) − (1 − ε) onehot(t) − ε / V) for one row; dz may be z. lse is subtracted in two parts, since what f32
// rounds away of it would be a factor of all probabilities. Where that of the target cancels against 1 is computed in double.
template <class T, class Out>
void cross_entropy_backward_row(const T* z, Out* dz, std::int64_t V, std::int64_t target,
                                double lse, double epsilon, float c) {
  // A row without any probability has a softmax of zeros.
  const bool is_empty = lse == static_cast<double>(-kInfinity);
  const float high = is_empty ? kInfinity : static_cast<float>(lse);
  const float low = is_empty ? 0.0F : static_cast<float>(lse - static_cast<double>(high));
  const double share = epsilon / static_cast<double>(V);
  const double log_probability = static_cast<double>(static_cast<float>(z[target])) -
                                 static_cast<double>(high) - static_cast<double>(low);
  const double at_target = static_cast<double>(c) * (std::expm1(log_probability) + epsilon - share);
  const auto vhigh = hn::Set(F32(), high);
  const auto vlow = hn::Set(F32(), low);
  const auto vc = hn::Set(F32(), c);
  const auto uniform = hn::Set(F32(), static_cast<float>(share));
  for_each_vector(V, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    const auto probability = exp_or_nan(hn::Sub(hn::Sub(load_some(z + i, n), vhigh), vlow));
    store_some(hn::Mul(vc, hn::Sub(probability, uniform)), dz + i, n);
  });
  dz[target] = static_cast<Out>(static_cast<float>(at_target));
}

// logits [N,V] with rows a.logits.stride(0) apart, targets [N] with −1 for ignored rows, row_loss and
// row_lse [N]. A task owns whole rows and reads each of them once.
void cross_entropy_rows(Stream& stream, const CrossEntropyArgs& a, const std::int64_t* targets,
                        double* row_loss, double* row_lse) {
  const std::int64_t V = a.logits.dim(1);
  const double epsilon = static_cast<double>(a.label_smoothing);
  float* const lse = data_as<float>(a.lse);
  switch_floating(a.logits.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const logits = data_as<const T>(a.logits);
    parallel_for(stream, a.logits.dim(0), row_grain(V), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        row_loss[n] = row_lse[n] = 0;
        if (targets[n] >= 0) {
          const T* const row = logits + n * a.logits.stride(0);
          row_loss[n] = cross_entropy_row(row, V, targets[n], epsilon, row_lse[n]);
        }
        lse[n] = static_cast<float>(row_lse[n]);
      }
    });
  });
}

// logits and row_lse as above, dlogits [N,V] dense. factor is that of all rows, without their weights. A task
// owns whole rows and reads and writes each of them once.
template <class T, class Out>
void cross_entropy_backward_rows_of(Stream& stream, const CrossEntropyBackwardArgs& a,
                                    const std::int64_t* targets, const double* row_lse,
                                    double factor) {
  const std::int64_t V = a.logits.dim(1);
  const double epsilon = static_cast<double>(a.label_smoothing);
  const float* const weights = a.weights ? data_as<const float>(a.weights) : nullptr;
  const T* const logits = data_as<const T>(a.logits);
  Out* const dlogits = data_as<Out>(a.dlogits);
  parallel_for(stream, a.logits.dim(0), row_grain(V), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      if (targets[n] < 0) {
        std::fill_n(dlogits + n * V, V, Out(0.0F));
        continue;
      }
      const double weight = weights == nullptr ? 1.0 : static_cast<double>(weights[n]);
      cross_entropy_backward_row(logits + n * a.logits.stride(0), dlogits + n * V, V, targets[n],
                                 row_lse[n], epsilon, static_cast<float>(factor * weight));
    }
  });
}

void cross_entropy_backward_rows(Stream& stream, const CrossEntropyBackwardArgs& a,
                                 const std::int64_t* targets, const double* row_lse,
                                 double factor) {
  switch_floating(a.dlogits.dtype, [&]<class Out>(std::type_identity<Out>) {
    if (a.logits.dtype == a.dlogits.dtype) {
      cross_entropy_backward_rows_of<Out, Out>(stream, a, targets, row_lse, factor);
    } else {
      cross_entropy_backward_rows_of<float, Out>(stream, a, targets, row_lse, factor);
    }
  });
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace wick::cpu {

HWY_EXPORT(cross_entropy_rows);
HWY_EXPORT(cross_entropy_backward_rows);

namespace {

constexpr std::int64_t kIgnored = -1;

// out[n] = the target of row n, or kIgnored. Invalid when a target is not one of the V classes; the
// message counts rows from first_row on.
KernelStatus read_targets(const TensorView& targets, std::int64_t V, std::int64_t ignore_index,
                          std::int64_t first_row, std::int64_t* out) {
  return switch_index(targets.dtype, [&]<class Index>(std::type_identity<Index>) {
    const Index* const values = data_as<const Index>(targets);
    for (std::int64_t n = 0; n < targets.numel(); ++n) {
      const std::int64_t target = values[n];
      const bool ignored = target == ignore_index;
      if (!ignored && (target < 0 || target >= V)) {
        return KernelStatus::invalid(
            fmt::format("target {} of row {} is outside [0, {})", target, first_row + n, V));
      }
      out[n] = ignored ? kIgnored : target;
    }
    return KernelStatus::ok();
  });
}

double scalar_or_one(const TensorView& view) {
  return view ? static_cast<double>(*data_as<const float>(view)) : 1.0;
}

// Adds the rows up one by one: the sums are the same for any number of threads.
void sum_row_losses(const CrossEntropyArgs& a, const std::int64_t* targets,
                    const double* row_loss) {
  const float* const weights = a.weights ? data_as<const float>(a.weights) : nullptr;
  float& loss_sum = *data_as<float>(a.loss_sum);
  float& weight_sum = *data_as<float>(a.weight_sum);
  double loss = a.accumulate ? static_cast<double>(loss_sum) : 0.0;
  double total_weight = a.accumulate ? static_cast<double>(weight_sum) : 0.0;
  for (std::int64_t n = 0; n < a.targets.numel(); ++n) {
    if (targets[n] == kIgnored) continue;
    const double weight = weights == nullptr ? 1.0 : static_cast<double>(weights[n]);
    loss += weight * row_loss[n];
    total_weight += weight;
  }
  loss_sum = static_cast<float>(loss);
  weight_sum = static_cast<float>(total_weight);
  if (a.inv_weight) {
    *data_as<float>(a.inv_weight) = weight_sum == 0 ? 0.0F : 1.0F / weight_sum;
  }
}

}  // namespace

KernelStatus cross_entropy(Stream& stream, const CrossEntropyArgs& a) {
  const std::int64_t N = a.logits.dim(0);
  const ScratchArray<std::int64_t> targets(stream, N);
  KernelStatus valid =
      read_targets(a.targets, a.logits.dim(1), a.ignore_index, a.first_row, targets.data());
  if (!valid.is_ok()) return valid;
  const ScratchArray<double> row_loss(stream, N);
  const ScratchArray<double> row_lse(stream, N);
  HWY_DYNAMIC_DISPATCH(cross_entropy_rows)
  (stream, a, targets.data(), row_loss.data(), row_lse.data());
  sum_row_losses(a, targets.data(), row_loss.data());
  if (a.dlogits) {
    HWY_DYNAMIC_DISPATCH(cross_entropy_backward_rows)
    (stream, gradient_of(a), targets.data(), row_lse.data(), 1.0);
  }
  return KernelStatus::ok();
}

KernelStatus cross_entropy_backward(Stream& stream, const CrossEntropyBackwardArgs& a) {
  const std::int64_t N = a.logits.dim(0);
  const ScratchArray<std::int64_t> targets(stream, N);
  KernelStatus valid = read_targets(a.targets, a.logits.dim(1), a.ignore_index, 0, targets.data());
  if (!valid.is_ok()) return valid;
  const double factor = scalar_or_one(a.dloss) * scalar_or_one(a.factor);
  const ScratchArray<double> row_lse(stream, N);
  std::copy_n(data_as<const float>(a.lse), N, row_lse.data());
  HWY_DYNAMIC_DISPATCH(cross_entropy_backward_rows)
  (stream, a, targets.data(), row_lse.data(), factor);
  return KernelStatus::ok();
}

}  // namespace wick::cpu
#endif  // HWY_ONCE
