#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/kernels/reduce.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <span>
#include <type_traits>

#include "backends/cpu/cpu_kernels.hpp"
#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/dtype_switch.hpp"
#include "backends/cpu/f64_lanes-inl.hpp"
#include "backends/cpu/loop_nest.hpp"
#include "backends/cpu/scratch.hpp"
#include "backends/cpu/simd-inl.hpp"
#include "base/truncate.hpp"
#include "layout/view_cast.hpp"
#include "runtime/args/reduce_args.hpp"

#ifndef WICK_BACKENDS_CPU_KERNELS_REDUCE_PLAN
#define WICK_BACKENDS_CPU_KERNELS_REDUCE_PLAN
namespace wick::cpu {

// How a sum is cut, from shapes and strides alone. One task adds the terms [part begin, part end)
// of each of `outputs_per_task` neighbouring outputs.
struct SumPlan {
  LoopNest<1> kept;     // over outputs
  LoopNest<1> reduced;  // over the terms of one output
  // Neighbouring outputs lie side by side in x: its rows are added to a row of totals.
  bool columns = false;
  std::int64_t outputs_per_task = 1;
  std::int64_t parts = 1;
};

// Totals of the columns that a task adds up at a time: they stay in a first-level cache.
inline constexpr std::int64_t kColumnsPerTask = 512;

}  // namespace wick::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

// Floats add up in double; integers modulo 2⁶⁴, since signed overflow is not defined.
template <class T>
using Total = std::conditional_t<std::is_integral_v<T>, std::uint64_t, double>;

template <class T>
Total<T> as_total(T value) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
  } else {
    return static_cast<double>(static_cast<float>(value));
  }
}

// Σ x[i · stride] for i < n.
template <class T>
Total<T> sum_run(const T* x, std::int64_t stride, std::int64_t n) {
  if constexpr (!std::is_integral_v<T>) {
    if (stride == 1) return sum_of(x, n);
  }
  Total<T> total = 0;
  for (std::int64_t i = 0; i < n; ++i) total += as_total(x[i * stride]);
  return total;
}

// totals[c] += x[c] for c < n.
template <class T>
void add_row(const T* x, Total<T>* totals, std::int64_t n) {
  if constexpr (std::is_integral_v<T>) {
    for (std::int64_t c = 0; c < n; ++c) totals[c] += as_total(x[c]);
  } else {
    add_to_totals(x, totals, n);
  }
}

// totals[k] += Σ of terms [begin, end) of output k, for k < count; `x` is the first of these
// outputs.
template <class T>
void sum_neighbours(const SumPlan& plan, const T* x, std::int64_t count, std::int64_t begin,
                    std::int64_t end, Total<T>* totals) {
  const std::int64_t step = plan.reduced.inner().strides[0];
  const std::int64_t kept_step = plan.kept.inner().strides[0];
  const auto add_terms = [&](std::int64_t, std::int64_t terms, const Offsets<1>& at) {
    const T* const start = x + at[0];
    if (plan.columns) {
      for (std::int64_t i = 0; i < terms; ++i) add_row(start + i * step, totals, count);
    } else {
      for (std::int64_t k = 0; k < count; ++k) {
        totals[k] += sum_run(start + k * kept_step, step, terms);
      }
    }
  };
  for_each_run(plan.reduced, begin, end, add_terms);
}

// totals[k] = Σ of terms [begin, end) of output first + k, for k < count.
template <class T>
void sum_task(const SumPlan& plan, const T* x, std::int64_t first, std::int64_t count,
              std::int64_t begin, std::int64_t end, Total<T>* totals) {
  std::fill_n(totals, count, Total<T>{});
  const auto sum_run_of_outputs = [&](std::int64_t position, std::int64_t outputs,
                                      const Offsets<1>& at) {
    sum_neighbours(plan, x + at[0], outputs, begin, end, totals + (position - first));
  };
  for_each_run(plan.kept, first, first + count, sum_run_of_outputs);
}

// out = factor · total, in the dtype of out.
template <class Out, class T>
Out scaled(T total, double factor) {
  if constexpr (std::is_same_v<T, double>) {
    return static_cast<Out>(static_cast<float>(total * factor));
  } else {
    const auto exact = static_cast<std::int64_t>(total);
    return factor == 1 ? exact : truncate<Out>(static_cast<double>(exact) * factor);
  }
}

// A task owns all terms of its outputs.
template <class T, class Out>
void sum_outputs(Stream& stream, const SumPlan& plan, const T* x, double factor, Out* out) {
  const std::int64_t outputs = plan.kept.numel();
  const std::int64_t terms = plan.reduced.numel();
  const std::int64_t tasks = (outputs + plan.outputs_per_task - 1) / plan.outputs_per_task;
  const std::int64_t grain = row_grain(plan.outputs_per_task * terms);
  parallel_for(stream, tasks, grain, [&](std::int64_t first, std::int64_t last) {
    Total<T> totals[kColumnsPerTask];
    for (std::int64_t task = first; task < last; ++task) {
      const std::int64_t k = task * plan.outputs_per_task;
      const std::int64_t count = std::min(plan.outputs_per_task, outputs - k);
      sum_task(plan, x, k, count, 0, terms, totals);
      for (std::int64_t i = 0; i < count; ++i) out[k + i] = scaled<Out>(totals[i], factor);
    }
  });
}

// Few outputs of many terms: a task owns one part of the terms, and parts are added in their order.
template <class T, class Out>
void sum_parts(Stream& stream, const SumPlan& plan, const T* x, double factor, Out* out) {
  const std::int64_t outputs = plan.kept.numel();
  const std::int64_t terms = plan.reduced.numel();
  const std::int64_t tasks = (outputs + plan.outputs_per_task - 1) / plan.outputs_per_task;
  const ScratchArray<Total<T>> partials(stream, plan.parts * outputs);
  parallel_for(stream, tasks * plan.parts, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t part = i / tasks;
      const std::int64_t k = i % tasks * plan.outputs_per_task;
      const std::int64_t count = std::min(plan.outputs_per_task, outputs - k);
      sum_task(plan, x, k, count, part * terms / plan.parts, (part + 1) * terms / plan.parts,
               partials.data() + part * outputs + k);
    }
  });
  for (std::int64_t k = 0; k < outputs; ++k) {
    Total<T> total = partials[k];
    for (std::int64_t part = 1; part < plan.parts; ++part) total += partials[part * outputs + k];
    out[k] = scaled<Out>(total, factor);
  }
}

template <class T, class Out>
void sum_typed(Stream& stream, const ReduceArgs& args, const SumPlan& plan) {
  const T* const x = data_as<const T>(args.x);
  Out* const out = data_as<Out>(args.out);
  if (plan.parts == 1) {
    sum_outputs(stream, plan, x, args.factor, out);
  } else {
    sum_parts(stream, plan, x, args.factor, out);
  }
}

void sum_elements(Stream& stream, const ReduceArgs& args, const SumPlan& plan) {
  switch_dtype(args.x.dtype, [&]<class T>(std::type_identity<T>) {
    using Out = std::conditional_t<std::is_integral_v<T>, std::int64_t, T>;
    sum_typed<T, Out>(stream, args, plan);
  });
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace wick::cpu {

HWY_EXPORT(sum_elements);

namespace {

// The dimensions [begin, end) of x. Only terms may change their order.
LoopNest<1> loops_over(const TensorView& x, int begin, int end, bool in_memory_order) {
  std::array<LoopDim<1>, kMaxRank> dims{};
  const auto rank = static_cast<std::size_t>(end - begin);
  for (std::size_t i = 0; i < rank; ++i) {
    const int axis = begin + static_cast<int>(i);
    dims[i] = {x.dim(axis), {x.stride(axis)}};
  }
  const std::span span(dims.data(), rank);
  if (in_memory_order) return nest_in_memory_order<1>(span, 0);
  LoopNest<1> nest;
  for (const LoopDim<1>& dim : span) nest.add_inner(dim);
  return nest;
}

SumPlan make_plan(const ReduceArgs& args) {
  const int num_kept = args.x.rank() - args.num_reduced;
  SumPlan plan;
  plan.kept = loops_over(args.x, 0, num_kept, false);
  plan.reduced = loops_over(args.x, num_kept, args.x.rank(), true);
  const std::int64_t outputs = plan.kept.numel();
  const std::int64_t terms = plan.reduced.numel();
  if (outputs == 0 || terms == 0) return plan;
  // Shorter rows of totals would cost more to set up than vectors save.
  constexpr std::int64_t kFewestColumns = 8;
  const LoopDim<1>& side = plan.kept.inner();
  plan.columns =
      side.strides[0] == 1 && side.size >= kFewestColumns && plan.reduced.inner().strides[0] != 1;
  // Outputs of few terms go together; outputs of many are cut up while there are too few tasks.
  constexpr std::int64_t kTermsPerTask = 4096;
  constexpr std::int64_t kTermsPerPart = 32768;
  constexpr std::int64_t kEnoughTasks = 32;
  const std::int64_t worthwhile = plan.columns ? kColumnsPerTask : kTermsPerTask / terms;
  plan.outputs_per_task =
      std::clamp<std::int64_t>(worthwhile, 1, std::min(outputs, kColumnsPerTask));
  const std::int64_t tasks = outputs / plan.outputs_per_task;
  if (tasks < kEnoughTasks) {
    const std::int64_t useful = terms * plan.outputs_per_task / kTermsPerPart;
    plan.parts = std::clamp<std::int64_t>(std::min(useful, terms), 1, kEnoughTasks);
  }
  return plan;
}

}  // namespace

KernelStatus sum(Stream& stream, const ReduceArgs& args) {
  if (args.x.dtype == DType::kU8) return KernelStatus::unsupported("sums of u8 are not defined");
  HWY_DYNAMIC_DISPATCH(sum_elements)(stream, args, make_plan(args));
  return KernelStatus::ok();
}

}  // namespace wick::cpu
#endif  // HWY_ONCE
