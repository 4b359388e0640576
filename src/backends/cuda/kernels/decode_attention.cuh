#pragma once

#include "backends/cuda/hopper_barrier.cuh"
#include "backends/cuda/hopper_order.cuh"
#include "backends/cuda/kernels/attention_problem.cuh"
#include "backends/cuda/kernels/attention_tensor.cuh"
#include "backends/cuda/kernels/rope_rotation.cuh"

// Attention of one new token of each sequence, from the products of its layer to the operand of the next one in one kernel: q
// and k are rotated, k and v appended, and the blocks of a cluster share the keys of a key head and add up what each found.
// What it takes is latency, not work: a thread asks for all that does not depend on the products at once and before they are
// over, keys and values go from memory to the registers that the tensor cores want them in, and loops are not unrolled,
// since a kernel that runs once a layer finds none of its instructions in the cache.

namespace wick::cuda {

inline constexpr int kDecodeThreads = 128;
inline constexpr int kDecodeWarps = kDecodeThreads / kWarp;
inline constexpr int kDecodeHeads = 8;        // of a key head, of a block
inline constexpr int kMostDecodeBlocks = 16;  // of a cluster

/// One call. `head_tiles` times kDecodeHeads are a group.
template <class T>
struct DecodeProblem {
  HeadRows<const T> q, k, v;  // token: not read
  T* k_memory;                // [B,S,Hkv,Dh]
  T* v_memory;
  T* out;  // [B,H,Dh]
  std::int64_t S;
  int first, visible;  // the keys that may be seen: what is read does not wait for the position
  const std::int32_t* position;  // null: begin
  std::int64_t begin;
  const std::int32_t* short_positions;  // one of the two is null
  const std::int64_t* long_positions;
  std::int64_t position_batch;
  const float* inv_freq;
  float attention_factor;
  int P;
  int Hkv, group, head_tiles, Dh;
  std::int64_t window;            // 0: none
  const unsigned char* key_mask;  // 0 hides
  std::int64_t key_mask_strides[2];
  float scale;
  int cluster_log;  // of its blocks, a power of two
};

/// A warp multiplies 16 keys at a time. Lane 4 r + q has chunks q, q + 4, … of keys r and r + 8, and chunks r, r + 8, … of the
/// values of keys 2 q, 2 q + 1, 2 q + 8 and 2 q + 9, whose scores for head r it has too.
template <class Element, int kDimension>
struct DecodeShape {
  using T = Element;
  static constexpr int kDim = kDimension;  // at least Dh, a multiple of 64
  static constexpr int kKeyChunks = kDim / 32;
  static constexpr int kValueChunks = kDim / 64;
  static constexpr int kKeys = 16;
  static constexpr int kStep = kKeys * kDecodeWarps;
  static constexpr int kFours = kDecodeHeads * kDim / 4;  // of the results of a block
  static constexpr int kPitch = kDim + 4;                 // of sums of a head in shared memory
};

template <class Shape>
struct DecodeMemory {
  typename Shape::T q[kDecodeHeads * Shape::kDim];
  typename Shape::T k[Shape::kDim];
  typename Shape::T v[Shape::kDim];
  float cosines[Shape::kDim / 2];
  float sines[Shape::kDim / 2];
  float sums[kDecodeWarps][kDecodeHeads * Shape::kPitch];
  float2 softmax[kDecodeWarps][kDecodeHeads];  // the largest score in base 2, Σ 2^(score − largest)
  // From all blocks of the cluster: what each found of this block's part of the results.
  float4 found[Shape::kFours];
  float4 found_softmax[kMostDecodeBlocks][kDecodeHeads];  // as above
  float weights[kMostDecodeBlocks][kDecodeHeads];
};

/// What is asked for at the beginning and looked at when it is there.
struct DecodePositions {
  std::int64_t own;        // the new key's place
  std::int64_t of_angles;  // the token's

  template <class T>
  __device__ __forceinline__ DecodePositions(const DecodeProblem<T>& p, int b)
      : own(p.position == nullptr ? p.begin : std::int64_t{*p.position}),
        of_angles(p.short_positions != nullptr
                      ? std::int64_t{p.short_positions[b * p.position_batch]}
                      : p.long_positions[b * p.position_batch]) {}
};

/// What a block works on.
struct DecodeTask {
  int rank;                // in the cluster
  int b, hkv, first_head;  // of the group
  int begin, end;          // its keys
  int own = -1;  // the new key, the last that is seen; −1 where it does not fit the memory
  int first_seen = 0;

  template <class T>
  __device__ __forceinline__ explicit DecodeTask(const DecodeProblem<T>& p)
      : rank(static_cast<int>(hopper::cluster_rank())) {
    int task = static_cast<int>(blockIdx.x) >> p.cluster_log;
    first_head = task % p.head_tiles * kDecodeHeads;
    task /= p.head_tiles;
    hkv = task % p.Hkv;
    b = task / p.Hkv;
    const int share = ((p.visible - p.first - 1) >> p.cluster_log) + 1;
    begin = min(p.first + rank * share, p.visible);
    end = min(begin + share, p.visible);
  }

  template <class T>
  __device__ __forceinline__ void look_at(const DecodeProblem<T>& p,
                                          const DecodePositions& positions) {
    if (positions.own >= 0 && positions.own < p.S) own = static_cast<int>(positions.own);
    if (p.window > 0 && p.window <= own) first_seen = own + 1 - static_cast<int>(p.window);
  }

  __device__ bool has_own() const { return begin <= own && own < end; }
};

/// 16 keys and values of a warp, and which of them are seen.
template <class Shape>
struct DecodeKeys {
  using T = typename Shape::T;
  uint4 k[2][Shape::kKeyChunks];
  uint4 v[4][Shape::kValueChunks];
  unsigned char shown[4];  // by the mask, looked at when all else is there

  __device__ __forceinline__ static int lane() { return static_cast<int>(threadIdx.x) % kWarp; }
  __device__ __forceinline__ static int key_of(int first, int i) {
    return first + lane() / 4 + 8 * i;
  }
  __device__ __forceinline__ static int value_of(int first, int i) {
    return first + lane() % 4 * 2 + i % 2 + i / 2 * 8;
  }

  // f(key, its first element for this lane, whether chunk c is one, registers) for all that the lane has of keys, of values.
  template <class F>
  __device__ __forceinline__ void for_each_key_chunk(int first, int Dh, const F& f) {
    const int own = lane() % 4 * kChunk;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int c = 0; c < Shape::kKeyChunks; ++c) {
        f(key_of(first, i), own, 4 * c * kChunk, own + 4 * c * kChunk < Dh, k[i][c]);
      }
    }
  }
  template <class F>
  __device__ __forceinline__ void for_each_value_chunk(int first, int Dh, const F& f) {
    const int own = lane() / 4 * kChunk;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int c = 0; c < Shape::kValueChunks; ++c) {
        f(value_of(first, i), own, 8 * c * kChunk, own + 8 * c * kChunk < Dh, v[i][c]);
      }
    }
  }

  /// Asks for the keys from `first` on, as far as they are the task's.
  __device__ __forceinline__ void load(const DecodeProblem<T>& p, const DecodeTask& task,
                                       int first) {
    const std::int64_t token = std::int64_t{p.Hkv} * p.Dh;
    const std::int64_t head = task.b * p.S * token + task.hkv * p.Dh;
    const auto load_from = [&](const T* memory) {
      return
          [&task, token, head = memory + head](int j, int own, int offset, bool exists, uint4& to) {
            to = make_uint4(0, 0, 0, 0);
            if (j >= task.end || !exists) return;
            const auto raw = load_raw<kChunk>(head + j * token + own + offset);
            to = make_uint4(raw.words[0], raw.words[1], raw.words[2], raw.words[3]);
          };
    };
    for_each_key_chunk(first, p.Dh, load_from(p.k_memory));
    for_each_value_chunk(first, p.Dh, load_from(p.v_memory));
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int j = value_of(first, i);
      shown[i] = 1;
      if (p.key_mask == nullptr || j >= task.end) continue;
      shown[i] = p.key_mask[task.b * p.key_mask_strides[0] + j * p.key_mask_strides[1]];
    }
  }

  /// Puts in the new key and takes out the values that are not seen: 0 · NaN is not 0.
  __device__ __forceinline__ void complete(const DecodeProblem<T>& p, const DecodeTask& task,
                                           int first, const DecodeMemory<Shape>& memory) {
    const auto take_new = [&](const T* from) {
      return [&task, from](int j, int own, int offset, bool exists, uint4& to) {
        // SAFETY: a chunk of 16 bytes, at a multiple of them.
        if (j == task.own && exists) to = *reinterpret_cast<const uint4*>(from + own + offset);
      };
    };
    if (first <= task.own && task.own < first + Shape::kKeys) {
      for_each_key_chunk(first, p.Dh, take_new(memory.k));
      for_each_value_chunk(first, p.Dh, take_new(memory.v));
    }
    bool all = true;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int j = value_of(first, i);
      const bool seen = task.first_seen <= j && j <= task.own && j < task.end;
      shown[i] = seen ? shown[i] : 0;
      all = all && shown[i] != 0;
    }
    if (__all_sync(kAllLanes, all)) return;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (uint4& chunk : v[i]) {
        if (shown[i] == 0) chunk = make_uint4(0, 0, 0, 0);
      }
    }
  }
};

/// Word i of a chunk.
__device__ __forceinline__ unsigned word_of(const uint4& chunk, int i) {
  return i == 0 ? chunk.x : i == 1 ? chunk.y : i == 2 ? chunk.z : chunk.w;
}

/// The online softmax of a warp in base 2: a lane has head lane / 4.
template <class Shape>
class DecodeSoftmax {
 public:
  using T = typename Shape::T;

  __device__ __forceinline__ DecodeSoftmax(const DecodeMemory<Shape>& memory, float scale)
      : scale_(scale * kLog2E) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
    for (int c = 0; c < Shape::kKeyChunks; ++c) {
      // SAFETY: chunks of 16 bytes, at multiples of them.
      q_[c] = reinterpret_cast<const uint4*>(memory.q + lane / 4 * Shape::kDim)[lane % 4 + 4 * c];
    }
  }

  __device__ __forceinline__ void add(const DecodeKeys<Shape>& keys) {
    float scores[2][4] = {};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int c = 0; c < Shape::kKeyChunks; ++c) {
        const uint4& k = keys.k[i][c];
        mma<T>(scores[i], {q_[c].x, 0, q_[c].y, 0}, k.x, k.y);
        mma<T>(scores[i], {q_[c].z, 0, q_[c].w, 0}, k.z, k.w);
      }
    }
    float weights[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      weights[i] = keys.shown[i] != 0 ? scores[i / 2][i % 2] * scale_ : -INFINITY;
    }
    weigh(weights);
    // What rounding takes from the weights is a row of its own: the heads are but half of a tile.
    unsigned rows[4];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float low = weights[2 * i];
      const float high = weights[2 * i + 1];
      rows[2 * i] = pack_two<T>(low, high);
      const float kept_low = to_float(from_float<T>(low));
      const float kept_high = to_float(from_float<T>(high));
      rows[2 * i + 1] = pack_two<T>(low - kept_low, high - kept_high);
    }
#pragma unroll
    for (int t = 0; t < Shape::kDim / 8; ++t) {
      const auto pair_of = [&](int i) {
        const unsigned first = word_of(keys.v[i][t / 8], t % 8 / 2);
        const unsigned second = word_of(keys.v[i + 1][t / 8], t % 8 / 2);
        return __byte_perm(first, second, t % 2 == 0 ? 0x5410 : 0x7632);
      };
      mma<T>(sums_[t], rows, pair_of(0), pair_of(2));
    }
  }

  /// Leaves what the warp found in memory.
  __device__ __forceinline__ void store(DecodeMemory<Shape>& memory) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    const float total = quad_reduce<Sum>(total_);
    if (lane % 4 == 0) memory.softmax[warp][lane / 4] = {most_, total};
    // Tile t's columns 2 q and 2 q + 1 are elements t mod 8 of chunks 2 q and 2 q + 1.
    float* const head = memory.sums[warp] + lane / 4 * Shape::kPitch + lane % 4 * 2 * kChunk;
#pragma unroll
    for (int t = 0; t < Shape::kDim / 8; t += 4) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const auto sum_of = [&](int k) { return sums_[t + k][i] + sums_[t + k][i + 2]; };
        const float four[4] = {sum_of(0), sum_of(1), sum_of(2), sum_of(3)};
        store_pack<4>(head + t / 8 * 64 + i * kChunk + t % 8, four);
      }
    }
  }

 private:
  // Scores become weights, and earlier sums are rescaled.
  __device__ __forceinline__ void weigh(float (&weights)[4]) {
    float next = fmaxf(fmaxf(weights[0], weights[1]), fmaxf(weights[2], weights[3]));
    next = fmaxf(most_, quad_reduce<Max>(next));
    // No key seen yet: −∞ − 0 gives a weight of 0 where −∞ − (−∞) would give NaN.
    const float shift = next == -INFINITY ? 0.0F : next;
    const float factor = exp2f(most_ - shift);
    most_ = next;
    total_ *= factor;
#pragma unroll
    for (float& weight : weights) {
      weight = exp2f(weight - shift);
      total_ += weight;
    }
    if (__all_sync(kAllLanes, factor == 1.0F)) return;
#pragma unroll
    for (auto& tile : sums_) {
#pragma unroll
      for (float& sum : tile) sum *= factor;
    }
  }

  float scale_;
  uint4 q_[Shape::kKeyChunks];
  float most_ = -INFINITY;
  float total_ = 0;  // of this lane's keys
  float sums_[Shape::kDim / 8][4] = {};
};

/// The angles of this token, which do not wait for the products; and zeros where these have no elements.
template <class Shape>
__device__ __forceinline__ void make_angles(const DecodeProblem<typename Shape::T>& p,
                                            std::int64_t position, DecodeMemory<Shape>& memory) {
  static_assert(Shape::kDim / 2 <= kDecodeThreads);
  const int thread = static_cast<int>(threadIdx.x);
  const float frequency = thread < p.P ? p.inv_freq[thread] : 0.0F;
  // SAFETY: q, k and v lie one behind the other, at a multiple of 16 bytes.
  auto* const chunks = reinterpret_cast<uint4*>(memory.q);
  constexpr int kCount = (kDecodeHeads + 2) * Shape::kDim / kChunk;
#pragma unroll 1
  for (int i = thread; i < kCount; i += kDecodeThreads) chunks[i] = make_uint4(0, 0, 0, 0);
  if (thread >= p.P) return;
  const Rotation r = rotation(static_cast<double>(position), frequency);
  memory.cosines[thread] = p.attention_factor * r.cosine;
  memory.sines[thread] = p.attention_factor * r.sine;
}

/// q, and in the block that has the new key k and v too, from where the products left them to shared memory: a chunk for each
/// thread, or two where they are rotated with each other.
template <class Shape>
__device__ __forceinline__ void take_products(const DecodeProblem<typename Shape::T>& p,
                                              const DecodeTask& task, DecodeMemory<Shape>& memory) {
  using T = typename Shape::T;
  const int pairs = p.P / kChunk;
  const int units = p.Dh / kChunk - pairs;  // of a head
  const int heads = min(kDecodeHeads, p.group - task.first_head);
  const int rotated = (heads + (task.has_own() ? 1 : 0)) * units;
  const int all = rotated + (task.has_own() ? p.Dh / kChunk : 0);
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < all; i += kDecodeThreads) {
    const int head = i / units;
    const int unit = i % units;
    const bool is_v = i >= rotated;
    const bool is_q = head < heads;
    const HeadRows<const T>& rows = is_v ? p.v : is_q ? p.q : p.k;
    const int own = is_q && !is_v ? task.hkv * p.group + task.first_head + head : task.hkv;
    const T* const from = rows.data + task.b * rows.batch + own * rows.head;
    T* const to = is_v ? memory.v : is_q ? memory.q + head * Shape::kDim : memory.k;
    if (!is_v && unit < pairs) {
      const int at = unit * kChunk;
      rotate<kChunk>(from + at, p.P, memory.cosines + at, memory.sines + at, to + at);
    } else {
      const int at = is_v ? (i - rotated) * kChunk : p.P + unit * kChunk;
      // SAFETY: both are aligned to chunks, which Raw is made of.
      *reinterpret_cast<Raw<kChunk, T>*>(to + at) = load_raw<kChunk>(from + at);
    }
  }
}

/// The new key and value, to the memory of all.
template <class Shape>
__device__ __forceinline__ void append_new(const DecodeProblem<typename Shape::T>& p,
                                           const DecodeTask& task,
                                           const DecodeMemory<Shape>& memory) {
  using T = typename Shape::T;
  const int chunks = p.Dh / kChunk;
  const int i = static_cast<int>(threadIdx.x);
  if (!task.has_own() || task.first_head != 0 || i >= 2 * chunks) return;
  const bool is_k = i < chunks;
  const std::int64_t head = ((task.b * p.S + task.own) * p.Hkv + task.hkv) * p.Dh;
  T* const to = (is_k ? p.k_memory : p.v_memory) + head;
  const int chunk = is_k ? i : i - chunks;
  // SAFETY: all are aligned to chunks: asked for by the host.
  reinterpret_cast<uint4*>(to)[chunk] =
      reinterpret_cast<const uint4*>(is_k ? memory.k : memory.v)[chunk];
}

/// Adds up what the warps found, and gives each block of the cluster its part of the sums.
template <class Shape>
__device__ __forceinline__ void send_sums(int cluster_log, int rank, DecodeMemory<Shape>& memory) {
  const int each = Shape::kFours >> cluster_log;
  const auto weights_of = [&](int h, float(&weights)[kDecodeWarps]) {
    float most = -INFINITY;
#pragma unroll
    for (const auto& warp : memory.softmax) most = fmaxf(most, warp[h].x);
    const float shift = most == -INFINITY ? 0.0F : most;
#pragma unroll
    for (int w = 0; w < kDecodeWarps; ++w) weights[w] = exp2f(memory.softmax[w][h].x - shift);
    return most;
  };
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < Shape::kFours; i += kDecodeThreads) {
    const int h = i * 4 / Shape::kDim;
    float weights[kDecodeWarps];
    weights_of(h, weights);
    float sums[4] = {0, 0, 0, 0};
#pragma unroll
    for (int w = 0; w < kDecodeWarps; ++w) {
      float part[4];
      load_pack<4>(memory.sums[w] + h * Shape::kPitch + i * 4 % Shape::kDim, part);
#pragma unroll
      for (int c = 0; c < 4; ++c) sums[c] = fmaf(weights[w], part[c], sums[c]);
    }
    const int to = i / each;
    hopper::store_at(static_cast<unsigned>(to), &memory.found[rank * each + i - to * each],
                     make_float4(sums[0], sums[1], sums[2], sums[3]));
  }
  const int i = static_cast<int>(threadIdx.x);
  static_assert(kDecodeThreads == kMostDecodeBlocks * kDecodeHeads);
  if (i >= kDecodeHeads << cluster_log) return;
  const int h = i % kDecodeHeads;
  float weights[kDecodeWarps];
  const float most = weights_of(h, weights);
  float total = 0;
#pragma unroll
  for (int w = 0; w < kDecodeWarps; ++w) {
    total = fmaf(weights[w], memory.softmax[w][h].y, total);
  }
  hopper::store_at(static_cast<unsigned>(i / kDecodeHeads), &memory.found_softmax[rank][h],
                   make_float4(most, total, 0, 0));
}

/// What each block's sums of each head count for in the results.
template <class Shape>
__device__ __forceinline__ void make_weights(int cluster_log, DecodeMemory<Shape>& memory) {
  const int from = static_cast<int>(threadIdx.x) % kMostDecodeBlocks;
  const int h = static_cast<int>(threadIdx.x) / kMostDecodeBlocks;
  const bool exists = from >> cluster_log == 0;
  float most = exists ? memory.found_softmax[from][h].x : -INFINITY;
  const float own = most;
#pragma unroll
  for (int step = kMostDecodeBlocks / 2; step > 0; step /= 2) {
    most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, step));
  }
  const float weight = exp2f(own - (most == -INFINITY ? 0.0F : most));
  float total = exists ? weight * memory.found_softmax[from][h].y : 0.0F;
#pragma unroll
  for (int step = kMostDecodeBlocks / 2; step > 0; step /= 2) {
    total += __shfl_xor_sync(kAllLanes, total, step);
  }
  memory.weights[from][h] = total == 0 ? 0.0F : __fdividef(weight, total);
}

/// This block's part of the results, from what all blocks sent.
template <class Shape>
__device__ __forceinline__ void store_results(const DecodeProblem<typename Shape::T>& p,
                                              const DecodeTask& task, DecodeMemory<Shape>& memory) {
  make_weights(p.cluster_log, memory);
  __syncthreads();
  const int each = Shape::kFours * 4 >> p.cluster_log;
  // SAFETY: float4s are floats.
  const float* const found = reinterpret_cast<const float*>(memory.found);
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < each; i += kDecodeThreads) {
    const int place = task.rank * each + i;
    const int h = place / Shape::kDim;
    const int column = place % Shape::kDim;
    if (task.first_head + h >= p.group || column >= p.Dh) continue;
    float sum = 0;
#pragma unroll 4
    for (int from = 0; from < 1 << p.cluster_log; ++from) {
      sum = fmaf(memory.weights[from][h], found[from * each + i], sum);
    }
    const int head = (task.b * p.Hkv + task.hkv) * p.group + task.first_head + h;
    p.out[std::int64_t{head} * p.Dh + column] = from_float<typename Shape::T>(sum);
  }
}

/// blockIdx.x: head tiles of key heads of sequences, a cluster each.
template <class Shape>
__global__ void __launch_bounds__(kDecodeThreads)
    decode_attention_kernel(const __grid_constant__ DecodeProblem<typename Shape::T> p) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  extern __shared__ float4 shared[];
  // SAFETY: the host asks for as much, and float4 is the widest of its members.
  auto& memory = *reinterpret_cast<DecodeMemory<Shape>*>(shared);
  hopper::let_next_begin();
  hopper::arrive_at_cluster();  // a block writes to another's memory when that one has begun
  DecodeTask task(p);
  const DecodePositions positions(p, task.b);
  int first = task.begin + static_cast<int>(threadIdx.x) / kWarp * Shape::kKeys;
  DecodeKeys<Shape> keys;
  keys.load(p, task, first);
  make_angles(p, positions.of_angles, memory);
  task.look_at(p, positions);
  __syncthreads();
  hopper::wait_for_previous();
  take_products(p, task, memory);
  __syncthreads();
  append_new(p, task, memory);
  DecodeSoftmax<Shape> softmax(memory, p.scale);
#pragma unroll 1
  while (first < task.end) {
    keys.complete(p, task, first, memory);
    first += Shape::kStep;
    DecodeKeys<Shape> next = keys;
    if (first < task.end) next.load(p, task, first);
    softmax.add(keys);
    keys = next;
  }
  softmax.store(memory);
  __syncthreads();
  hopper::wait_for_cluster();
  send_sums(p.cluster_log, task.rank, memory);
  __syncwarp();
  hopper::meet_cluster();
  store_results(p, task, memory);
#endif
}

}  // namespace wick::cuda
