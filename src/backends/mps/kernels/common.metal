#include "backends/mps/strided_kargs.hpp"

// What every family of kernels shares: element types, conversions, loops over strided operands.
//
// Kernels are C++14 without lambdas, recursion or anything of the standard library. Dtypes come as function constants, which
// Metal folds when it makes a pipeline; bf16 is loaded and stored as its bits, which every GPU can.

using namespace metal;

// wick::DType.
enum ElementType : uint { kF32, kF16, kBF16, kI32, kI64, kU8, kBool };

inline uint size_of_type(uint dtype) {
  if (dtype == kI64) return 8;
  if (dtype == kF32 || dtype == kI32) return 4;
  return dtype == kF16 || dtype == kBF16 ? 2 : 1;
}

inline bool is_integer_type(uint dtype) { return dtype >= kI32; }

inline float bf16_to_float(ushort bits) { return as_type<float>(uint(bits) << 16); }

// To the nearest, ties to even; NaN stays one.
inline ushort float_to_bf16(float value) {
  const uint bits = as_type<uint>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return ushort((bits >> 16) | 0x40u);
  return ushort((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

// Element i of floating memory as float.
inline float load_float(device const uchar* data, ulong i, uint dtype) {
  if (dtype == kF16) return float(((device const half*)data)[i]);
  if (dtype == kBF16) return bf16_to_float(((device const ushort*)data)[i]);
  return ((device const float*)data)[i];
}

// Elements i to i + 3, which lie at a multiple of four of them.
inline float4 load_float4(device const uchar* data, ulong i, uint dtype) {
  if (dtype == kF16) return float4(*(device const half4*)((device const half*)data + i));
  if (dtype == kBF16) {
    const ushort4 bits = *(device const ushort4*)((device const ushort*)data + i);
    return float4(bf16_to_float(bits.x), bf16_to_float(bits.y), bf16_to_float(bits.z),
                  bf16_to_float(bits.w));
  }
  return *(device const float4*)((device const float*)data + i);
}

inline void store_float(device uchar* data, ulong i, uint dtype, float value) {
  if (dtype == kF16) {
    ((device half*)data)[i] = half(value);
  } else if (dtype == kBF16) {
    ((device ushort*)data)[i] = float_to_bf16(value);
  } else {
    ((device float*)data)[i] = value;
  }
}

// What a float becomes in memory of the dtype and back.
inline float round_to_type(float value, uint dtype) {
  if (dtype == kF16) return float(half(value));
  if (dtype == kBF16) return bf16_to_float(float_to_bf16(value));
  return value;
}

// Element i of integer memory.
inline long load_integer(device const uchar* data, ulong i, uint dtype) {
  if (dtype == kI32) return long(((device const int*)data)[i]);
  if (dtype == kI64) return ((device const long*)data)[i];
  return long(data[i]);
}

inline void store_integer(device uchar* data, ulong i, uint dtype, long value) {
  if (dtype == kI32) {
    ((device int*)data)[i] = int(value);
  } else if (dtype == kI64) {
    ((device long*)data)[i] = value;
  } else {
    data[i] = uchar(value);
  }
}

// The offsets of the index-th iteration of a nest of loops.
template <int N>
inline void loop_offsets(constant wick::mps::Loops<N>& loops, ulong index,
                         thread long (&found)[N]) {
  for (int n = 0; n < N; ++n) found[n] = 0;
  for (int d = loops.rank - 1; d > 0; --d) {
    const ulong size = ulong(loops.sizes[d]);
    ulong position;
    if (index <= 0xFFFFFFFFul && size <= 0xFFFFFFFFul) {  // the division is several times faster
      position = ulong(uint(index) % uint(size));
      index = ulong(uint(index) / uint(size));
    } else {
      position = index % size;
      index /= size;
    }
    for (int n = 0; n < N; ++n) found[n] += long(position) * loops.strides[d][n];
  }
  if (loops.rank > 0) {
    for (int n = 0; n < N; ++n) found[n] += long(index) * loops.strides[0][n];
  }
}

// Notes that `value` at `position` of an operand is outside [0,bound), unless a fault is noted already.
struct FaultCell {
  atomic_uint count;
  int kind;
  long position;
  long value;
  long bound;
};

inline void report_fault(device FaultCell* fault, int kind, long position, long value, long bound) {
  if (atomic_fetch_add_explicit(&fault->count, 1u, memory_order_relaxed) != 0u) return;
  fault->kind = kind;
  fault->position = position;
  fault->value = value;
  fault->bound = bound;
}
