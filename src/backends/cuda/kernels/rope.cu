#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/hopper_order.cuh"
#include "backends/cuda/kernels/rope_rotation.cuh"
#include "backends/cuda/rows.cuh"
#include "runtime/args/rope_args.hpp"

namespace wick::cuda {

namespace {

constexpr int kThreads = 128;
constexpr std::size_t kMostTableBytes = 32 * 1024;
constexpr int kMostTokens = 32;  // of a block

// x [B,T,H,Dh] with stride(3) = 1; out dense.
template <class T>
struct Heads {
  const T* x;
  std::int64_t x_batch, x_token, x_head;
  T* out;
  int H;
};

// Two tensors, of which the second may have no heads; positions [B,T].
template <class T>
struct Rope {
  Heads<T> each[2];
  const std::int32_t* short_positions;  // one of the two is null
  const std::int64_t* long_positions;
  std::int64_t position_batch, position_token;
  const float* inv_freq;
  std::int64_t tokens;  // B · T
  std::int64_t T_;
  int Dh, P;
  int tokens_per_block;
  float factor;
  float sign;
};

// A block has a few tokens: the rotations of each are computed once, into shared memory, for all its heads.
template <int kVec, class T>
__global__ void __launch_bounds__(kThreads) rope_tokens(Rope<T> a) {
  extern __shared__ float4 shared[];
  hopper::let_next_begin();
  // SAFETY: the tables hold floats; float4 only aligns them for accesses of 16 bytes.
  float* const cosines = reinterpret_cast<float*>(shared);
  float* const sines = cosines + a.tokens_per_block * a.P;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * a.tokens_per_block;
  const int tokens =
      static_cast<int>(min(static_cast<std::int64_t>(a.tokens_per_block), a.tokens - first));
  __shared__ double positions[kMostTokens];
  __shared__ const T* rows[2][kMostTokens];
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < tokens) {
    const std::int64_t b = (first + thread) / a.T_;
    const std::int64_t t = (first + thread) % a.T_;
    const std::int64_t at = b * a.position_batch + t * a.position_token;
    positions[thread] = static_cast<double>(a.short_positions != nullptr ? a.short_positions[at]
                                                                         : a.long_positions[at]);
    for (int i = 0; i < 2; ++i) {
      rows[i][thread] = a.each[i].x + b * a.each[i].x_batch + t * a.each[i].x_token;
    }
  }
  __syncthreads();
  for (int i = thread; i < tokens * a.P; i += kThreads) {
    const Rotation r = rotation(positions[i / a.P], a.inv_freq[i % a.P]);
    cosines[i] = a.factor * r.cosine;
    sines[i] = a.factor * a.sign * r.sine;
  }
  __syncthreads();
  hopper::wait_for_previous();   // which makes x
  const int pairs = a.P / kVec;  // packs of them
  const int per_head = pairs + (a.Dh - 2 * a.P) / kVec;
  const int heads = a.each[0].H + a.each[1].H;
#pragma unroll 2
  for (int i = thread; i < tokens * heads * per_head; i += kThreads) {
    const int head_of_all = i / per_head;
    const int pack = i % per_head;
    const int in_block = head_of_all / heads;
    const int head_of_both = head_of_all % heads;
    const bool second = head_of_both >= a.each[0].H;
    const Heads<T>& own = a.each[second];
    const int head = second ? head_of_both - a.each[0].H : head_of_both;
    const T* const x = rows[second][in_block] + head * own.x_head;
    T* const out = own.out + ((first + in_block) * own.H + head) * a.Dh;
    if (pack < pairs) {
      const int entry = in_block * a.P + pack * kVec;
      rotate<kVec>(x + pack * kVec, a.P, cosines + entry, sines + entry, out + pack * kVec);
    } else {  // behind the rotated part
      const int column = 2 * a.P + (pack - pairs) * kVec;
      float values[kVec];
      unpack(load_raw<kVec>(x + column), values);
      store_values<kVec>(out + column, values);
    }
  }
}

// Enough tokens for a few packs per thread, but blocks for every multiprocessor.
int tokens_per_block(Stream& stream, std::int64_t tokens, std::int64_t packs_per_token,
                     std::int64_t P) {
  constexpr std::int64_t kPacksPerBlock = 4 * kThreads;
  const std::int64_t multiprocessors = backend_of_stream(stream).properties().multiProcessorCount;
  const std::int64_t in_table =
      static_cast<std::int64_t>(kMostTableBytes / sizeof(Rotation)) / std::max<std::int64_t>(P, 1);
  const std::int64_t wanted =
      std::min({ceil_div(kPacksPerBlock, packs_per_token), std::int64_t{kMostTokens},
                ceil_div(tokens, 2 * multiprocessors), in_table});
  return static_cast<int>(std::max<std::int64_t>(wanted, 1));
}

template <class T>
void launch_rope(Stream& stream, Rope<T> a, bool wide, std::span<const MemoryRange> written,
                 std::span<const MemoryRange> early) {
  const auto run = [&]<int kVec>(Int<kVec>) {
    const int heads = a.each[0].H + a.each[1].H;
    a.tokens_per_block = tokens_per_block(stream, a.tokens, heads * ((a.Dh - a.P) / kVec), a.P);
    const std::size_t table = static_cast<std::size_t>(a.tokens_per_block) *
                              static_cast<std::size_t>(a.P) * sizeof(Rotation);
    const dim3 grid(static_cast<unsigned>(ceil_div(a.tokens, a.tokens_per_block)));
    launch_overlapping(stream, rope_tokens<kVec, T>, grid, dim3(kThreads), table,
                       {.written = written, .early = early}, a);
  };
  if (wide) {
    run(Int<kPackSize<T>>{});
  } else {
    run(Int<1>{});
  }
}

template <class T>
Heads<T> heads_of(const TensorView& x, const TensorView& out) {
  if (!x) return {};
  return {.x = data_of<const T>(x),
          .x_batch = x.stride(0),
          .x_token = x.stride(1),
          .x_head = x.stride(2),
          .out = data_of<T>(out),
          .H = static_cast<int>(x.dim(2))};
}

template <class T>
Rope<T> rope_of(const RopeArgs& args) {
  const bool is_short = args.positions.dtype == DType::kI32;
  return {.each = {heads_of<T>(args.x, args.out), heads_of<T>(args.y, args.y_out)},
          .short_positions = is_short ? data_of<const std::int32_t>(args.positions) : nullptr,
          .long_positions = is_short ? nullptr : data_of<const std::int64_t>(args.positions),
          .position_batch = args.positions.stride(0),
          .position_token = args.positions.stride(1),
          .inv_freq = data_of<const float>(args.inv_freq),
          .tokens = args.x.dim(0) * args.x.dim(1),
          .T_ = args.x.dim(1),
          .Dh = static_cast<int>(args.x.dim(3)),
          .P = static_cast<int>(args.inv_freq.dim(0)),
          .tokens_per_block = 1,
          .factor = args.attention_factor,
          .sign = args.inverse ? -1.0F : 1.0F};
}

}  // namespace

KernelStatus rope(Stream& stream, const RopeArgs& args) {
  if (args.x.numel() + (args.y ? args.y.numel() : 0) == 0) return KernelStatus::ok();
  if (static_cast<std::size_t>(args.inv_freq.dim(0)) * sizeof(Rotation) > kMostTableBytes) {
    return KernelStatus::unsupported("more than 4096 pairs to rotate in a head");
  }
  switch_floating(args.x.dtype, [&]<class T>(std::type_identity<T>) {
    const Rope<T> a = rope_of<T>(args);
    constexpr int kWide = kPackSize<T>;
    const bool wide = a.P % kWide == 0 && a.Dh % kWide == 0 && has_packs<kWide>(args.x, args.out) &&
                      has_packs<kWide>(args.y, args.y_out);
    const MemoryRange written[] = {range_of(args.out), range_of(args.y_out)};
    const MemoryRange early[] = {range_of(args.positions), range_of(args.inv_freq)};
    launch_rope(stream, a, wide, written, early);
  });
  return KernelStatus::ok();
}

}  // namespace wick::cuda
