#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/kernels/embedding.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <string>

#include "backends/cpu/cpu_kernels.hpp"
#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/dtype_switch.hpp"
#include "backends/cpu/scratch.hpp"
#include "backends/cpu/simd-inl.hpp"
#include "layout/view_cast.hpp"
#include "runtime/args/embedding_args.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

// sums[d] += x[d], or sums[d] = x[d] for the `first` row.
template <class T>
void add_row(const T* x, bool first, float* sums, std::int64_t D) {
  for_each_vector(D, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    const auto v = load_some(x + i, n);
    store_some(first ? v : hn::Add(load_some(sums + i, n), v), sums + i, n);
  });
}

template <class T>
void round_row(const float* sums, T* out, std::int64_t D) {
  for_each_vector(D, [&](std::int64_t i, std::int64_t n)
                         HWY_ATTR { store_some(load_some(sums + i, n), out + i, n); });
}

// dweight[v,:] = Σ dy[n,:] over the positions n = positions[starts[v]] … positions[starts[v+1] −
// 1], in that order. A task owns whole rows of dweight, most of which only become zero.
void embedding_backward_rows(Stream& stream, const EmbeddingBackwardArgs& a,
                             const std::int64_t* starts, const std::int64_t* positions) {
  const std::int64_t D = a.dweight.dim(1);
  switch_floating(a.dweight.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const dy = data_as<const T>(a.dy);
    T* const dweight = data_as<T>(a.dweight);
    parallel_for(stream, a.dweight.dim(0), row_grain(D), [&](std::int64_t begin, std::int64_t end) {
      const ScratchArray<float> sums(stream, D);
      for (std::int64_t v = begin; v < end; ++v) {
        T* const out = dweight + v * D;
        if (starts[v] == starts[v + 1]) {
          std::fill_n(out, D, T{});
          continue;
        }
        for (std::int64_t i = starts[v]; i < starts[v + 1]; ++i) {
          add_row(dy + positions[i] * D, i == starts[v], sums.data(), D);
        }
        round_row(sums.data(), out, D);
      }
    });
  });
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace wick::cpu {

HWY_EXPORT(embedding_backward_rows);

namespace {

template <class Id>
KernelStatus check_ids(const Id* ids, std::int64_t N, std::int64_t V) {
  for (std::int64_t n = 0; n < N; ++n) {
    const std::int64_t id = ids[n];
    if (id >= 0 && id < V) continue;
    return KernelStatus::invalid("ids[" + std::to_string(n) + "] is " + std::to_string(id) +
                                 ", outside [0," + std::to_string(V) + ")");
  }
  return KernelStatus::ok();
}

// A stable counting sort of the positions by their id. Afterwards those of id v are
// positions[starts[v]] to positions[starts[v + 1] − 1], in ascending order; starts [V + 1].
template <class Id>
void sort_positions(const Id* ids, std::int64_t N, std::int64_t V, std::int64_t* starts,
                    std::int64_t* positions) {
  std::fill_n(starts, V + 1, 0);
  for (std::int64_t n = 0; n < N; ++n) ++starts[ids[n]];
  for (std::int64_t v = 1; v <= V; ++v) starts[v] += starts[v - 1];
  // Now starts[v] is where the positions of v end; filling from the back moves it to their start.
  for (std::int64_t n = N - 1; n >= 0; --n) positions[--starts[ids[n]]] = n;
}

}  // namespace

// weight [V,D] rows weight.stride(0) apart, ids [N], out [N,D]. A task owns whole rows of out.
KernelStatus embedding(Stream& stream, const EmbeddingArgs& a) {
  const std::int64_t N = a.ids.numel();
  const std::int64_t D = a.weight.dim(1);
  return switch_index(a.ids.dtype, [&]<class Id>(std::type_identity<Id>) {
    const Id* const ids = data_as<const Id>(a.ids);
    KernelStatus status = check_ids(ids, N, a.weight.dim(0));
    if (!status.is_ok()) return status;
    switch_floating(a.weight.dtype, [&]<class T>(std::type_identity<T>) {
      const T* const weight = data_as<const T>(a.weight);
      T* const out = data_as<T>(a.out);
      parallel_for(stream, N, row_grain(D), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t n = begin; n < end; ++n) {
          std::copy_n(weight + ids[n] * a.weight.stride(0), D, out + n * D);
        }
      });
    });
    return status;
  });
}

// dy [N,D], ids [N], dweight [V,D].
KernelStatus embedding_backward(Stream& stream, const EmbeddingBackwardArgs& a) {
  const std::int64_t N = a.ids.numel();
  const std::int64_t V = a.dweight.dim(0);
  const ScratchArray<std::int64_t> starts(stream, V + 1);
  const ScratchArray<std::int64_t> positions(stream, N);
  switch_index(a.ids.dtype, [&]<class Id>(std::type_identity<Id>) {
    sort_positions(data_as<const Id>(a.ids), N, V, starts.data(), positions.data());
  });
  HWY_DYNAMIC_DISPATCH(embedding_backward_rows)(stream, a, starts.data(), positions.data());
  return KernelStatus::ok();
}

}  // namespace wick::cpu
#endif  // HWY_ONCE
