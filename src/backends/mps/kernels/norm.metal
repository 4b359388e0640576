#include "backends/mps/kernels/common.metal"
#include "backends/mps/kernels/norm_kargs.hpp"
#include "backends/mps/kernels/rows.metal"

using namespace wick::mps;

constant uint kNorm [[function_constant(1)]];        // a NormKind
constant uint kDType [[function_constant(2)]];       // of x, out, dy and dx
constant uint kWeightType [[function_constant(3)]];  // of weight and its gradient
constant uint kBiasType [[function_constant(4)]];    // of bias and its gradient
constant uint kGiven [[function_constant(5)]];       // NormGiven bits

// x [R,D] rows apart, out [R,D] dense: x less its mean (layer_norm), times inv, times weight, plus bias. The variance comes
// from the differences: the mean of the squares less the square of the mean would lose the digits that matter where the mean
// is large.
kernel void norm(device const uchar* x [[buffer(0)]], device const uchar* weight [[buffer(1)]],
                 device const uchar* bias [[buffer(2)]], device uchar* out [[buffer(3)]],
                 device float* means [[buffer(4)]], device float* inverses [[buffer(5)]],
                 constant NormKargs& args [[buffer(6)]],
                 uint group [[threadgroup_position_in_grid]],
                 uint simd [[simdgroup_index_in_threadgroup]],
                 uint simds [[simdgroups_per_threadgroup]],
                 uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float room[kMostRowSimds];
  const RowPlace place = row_place(args.plan, group, simd, simds, lane);
  if (place.row >= ulong(args.plan.rows)) return;
  const ulong columns = ulong(args.plan.columns);
  const ulong from = place.row * ulong(args.x_stride);
  const ulong to = place.row * columns;
  HeldRow held;
  hold_row(held, x, from, columns, place, kDType, 0.0f);
  const uint steps = row_steps(place, columns);
  float mean = 0.0f;
  if (kNorm == kLayerNorm) {
    for (uint n = 0; n < steps; ++n) {
      const ulong i = column(place, n);
      if (i < columns) mean += row_value(held, n, x, from + i, kDType);
    }
    mean = row_sum(mean, place, room) / float(columns);
  }
  float squares = 0.0f;
  for (uint n = 0; n < steps; ++n) {
    const ulong i = column(place, n);
    if (i >= columns) break;
    const float v = row_value(held, n, x, from + i, kDType) - mean;
    squares = fma(v, v, squares);
  }
  const float inverse = 1.0f / sqrt(row_sum(squares, place, room) / float(columns) + args.eps);
  for (uint n = 0; n < steps; ++n) {
    const ulong i = column(place, n);
    if (i >= columns) break;
    const float v = (row_value(held, n, x, from + i, kDType) - mean) * inverse;
    const float shift = (kGiven & kGivenBias) != 0 ? load_float(bias, i, kBiasType) : 0.0f;
    store_float(out, to + i, kDType, fma(v, load_float(weight, i, kWeightType), shift));
  }
  if (place.first != 0u) return;
  if ((kGiven & kGivenMean) != 0) means[place.row] = mean;
  if ((kGiven & kGivenInverse) != 0) inverses[place.row] = inverse;
}

// With n = (x − mean) · inv and g = dy · weight: dx = inv (g − mean(g) − n · mean(g · n)); rms_norm has no means.
kernel void norm_backward(device const uchar* dy [[buffer(0)]], device const uchar* x [[buffer(1)]],
                          device const uchar* weight [[buffer(2)]],
                          device const float* means [[buffer(3)]],
                          device const float* inverses [[buffer(4)]],
                          device uchar* dx [[buffer(5)]], constant NormKargs& args [[buffer(6)]],
                          uint group [[threadgroup_position_in_grid]],
                          uint simd [[simdgroup_index_in_threadgroup]],
                          uint simds [[simdgroups_per_threadgroup]],
                          uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float room[kMostRowSimds];
  const RowPlace place = row_place(args.plan, group, simd, simds, lane);
  if (place.row >= ulong(args.plan.rows)) return;
  const ulong columns = ulong(args.plan.columns);
  const ulong from = place.row * ulong(args.x_stride);
  const ulong to = place.row * columns;
  const float mean = kNorm == kLayerNorm ? means[place.row] : 0.0f;
  const float inverse = inverses[place.row];
  HeldRow slopes;
  HeldRow values;
  hold_row(slopes, dy, to, columns, place, kDType, 0.0f);
  hold_row(values, x, from, columns, place, kDType, 0.0f);
  const uint steps = row_steps(place, columns);
  float mean_gn = 0.0f;
  float mean_g = 0.0f;
  for (uint n = 0; n < steps; ++n) {
    const ulong i = column(place, n);
    if (i >= columns) break;
    const float slope = row_value(slopes, n, dy, to + i, kDType);
    const float g = slope * load_float(weight, i, kWeightType);
    const float v = row_value(values, n, x, from + i, kDType);
    mean_gn = fma(g, (v - mean) * inverse, mean_gn);
    mean_g += g;
  }
  mean_gn = row_sum(mean_gn, place, room) / float(columns);
  mean_g = kNorm == kLayerNorm ? row_sum(mean_g, place, room) / float(columns) : 0.0f;
  for (uint n = 0; n < steps; ++n) {
    const ulong i = column(place, n);
    if (i >= columns) break;
    const float slope = row_value(slopes, n, dy, to + i, kDType);
    const float g = slope * load_float(weight, i, kWeightType);
    const float normed = (row_value(values, n, x, from + i, kDType) - mean) * inverse;
    store_float(dx, to + i, kDType, inverse * fma(-normed, mean_gn, g - mean_g));
  }
}

// Σ dy · n and Σ dy of a chunk of the rows, [chunks,D] each. A thread of the grid [D,chunks] owns a column.
kernel void norm_sums(device const uchar* dy [[buffer(0)]], device const uchar* x [[buffer(1)]],
                      device const float* means [[buffer(2)]],
                      device const float* inverses [[buffer(3)]],
                      device float* weight_sums [[buffer(4)]],
                      device float* bias_sums [[buffer(5)]],
                      constant NormSumsKargs& args [[buffer(6)]],
                      uint2 at [[thread_position_in_grid]]) {
  const ulong begin = ulong(at.y) * ulong(args.rows_each);
  const ulong end = min(begin + ulong(args.rows_each), ulong(args.rows));
  float weight_sum = 0.0f;
  float bias_sum = 0.0f;
  for (ulong row = begin; row < end; ++row) {
    const float slope = load_float(dy, row * ulong(args.columns) + at.x, kDType);
    const float mean = kNorm == kLayerNorm ? means[row] : 0.0f;
    const float v = load_float(x, row * ulong(args.x_stride) + at.x, kDType);
    weight_sum = fma(slope, (v - mean) * inverses[row], weight_sum);
    bias_sum += slope;
  }
  const ulong place = ulong(at.y) * ulong(args.columns) + at.x;
  if ((kGiven & kGivenWeight) != 0) weight_sums[place] = weight_sum;
  if ((kGiven & kGivenBias) != 0) bias_sums[place] = bias_sum;
}

// out[d] = Σ over the chunks, in their order; `out` is of kWeightType.
kernel void norm_add_sums(device const float* sums [[buffer(0)]], device uchar* out [[buffer(1)]],
                          constant AddSumsKargs& args [[buffer(2)]],
                          uint d [[thread_position_in_grid]]) {
  float sum = 0.0f;
  for (ulong chunk = 0; chunk < ulong(args.chunks); ++chunk) {
    sum += sums[chunk * ulong(args.columns) + d];
  }
  store_float(out, d, kWeightType, sum);
}
