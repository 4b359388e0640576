#include "backends/mps/kernels/common.metal"
#include "backends/mps/kernels/copy_kargs.hpp"

using namespace wick::mps;

constant uint kSource [[function_constant(0)]];      // dtype of src
constant uint kTarget [[function_constant(1)]];      // dtype of dst
constant uint kMisaligned [[function_constant(2)]];  // whether elements may begin at any byte

// The `count` bytes at data[at] as the low bytes of a number.
inline ulong load_bytes(device const uchar* data, ulong at, uint count) {
  ulong bits = 0;
  for (uint i = 0; i < count; ++i) bits |= ulong(data[at + i]) << (8 * i);
  return bits;
}
inline void store_bytes(device uchar* data, ulong at, uint count, ulong bits) {
  for (uint i = 0; i < count; ++i) data[at + i] = uchar(bits >> (8 * i));
}
inline float source_float(device const uchar* src, ulong i) {
  if (kMisaligned == 0) return load_float(src, i, kSource);
  const ulong bits = load_bytes(src, i * size_of_type(kSource), size_of_type(kSource));
  if (kSource == kF16) return float(as_type<half>(ushort(bits)));
  if (kSource == kBF16) return bf16_to_float(ushort(bits));
  return as_type<float>(uint(bits));
}
inline long source_integer(device const uchar* src, ulong i) {
  if (kMisaligned == 0) return load_integer(src, i, kSource);
  const ulong bits = load_bytes(src, i * size_of_type(kSource), size_of_type(kSource));
  return kSource == kI32 ? long(int(uint(bits))) : long(bits);
}
inline void put_float(device uchar* dst, ulong i, float value) {
  if (kMisaligned == 0) {
    store_float(dst, i, kTarget, value);
    return;
  }
  ulong bits = ulong(as_type<uint>(value));
  if (kTarget == kF16) bits = ulong(as_type<ushort>(half(value)));
  if (kTarget == kBF16) bits = ulong(float_to_bf16(value));
  store_bytes(dst, i * size_of_type(kTarget), size_of_type(kTarget), bits);
}
inline void put_integer(device uchar* dst, ulong i, long value) {
  if (kMisaligned == 0) {
    store_integer(dst, i, kTarget, value);
  } else {
    store_bytes(dst, i * size_of_type(kTarget), size_of_type(kTarget), ulong(value));
  }
}

// A number without its fraction; the nearest there is where it does not fit, 0 for NaN.
inline long truncated(float value, float low, float beyond, long lowest, long largest) {
  if (isnan(value)) return 0;
  if (value >= beyond) return largest;
  if (value <= low) return lowest;
  return long(value);
}
inline long float_to_integer(float value) {
  if (kTarget == kBool) return value != 0.0f ? 1 : 0;
  if (kTarget == kU8) return truncated(value, 0.0f, 256.0f, 0, 255);
  if (kTarget == kI32)
    return truncated(value, -2147483648.0f, 2147483648.0f, -2147483647 - 1, 2147483647);
  const long largest = 0x7FFFFFFFFFFFFFFFl;
  return truncated(value, -9223372036854775808.0f, 9223372036854775808.0f, -largest - 1, largest);
}

// dst[i] = src[i] with conversion; a thread owns elements i, i + grid, …
kernel void copy(device const uchar* src [[buffer(0)]], device uchar* dst [[buffer(1)]],
                 constant Loops<2>& loops [[buffer(2)]],
                 uint thread_index [[thread_position_in_grid]], uint threads [[threads_per_grid]]) {
  for (ulong i = thread_index; i < ulong(loops.numel); i += threads) {
    long at[2];
    loop_offsets<2>(loops, i, at);
    const ulong from = ulong(at[0]);
    const ulong to = ulong(at[1]);
    if (is_integer_type(kSource)) {
      const long value = source_integer(src, from);
      if (!is_integer_type(kTarget)) {
        put_float(dst, to, float(value));
      } else {
        put_integer(dst, to, kTarget == kBool ? (value != 0 ? 1 : 0) : value);
      }
    } else if (is_integer_type(kTarget)) {
      put_integer(dst, to, float_to_integer(source_float(src, from)));
    } else {
      put_float(dst, to, source_float(src, from));
    }
  }
}

// dst = src for n bytes; a thread moves 16 at a time.
kernel void copy_bytes(device const uchar* src [[buffer(0)]], device uchar* dst [[buffer(1)]],
                       constant CopyBytesKargs& args [[buffer(2)]],
                       uint thread_index [[thread_position_in_grid]],
                       uint threads [[threads_per_grid]]) {
  const ulong bytes = ulong(args.bytes);
  for (ulong i = ulong(thread_index) * 16; i < bytes; i += ulong(threads) * 16) {
    if (args.aligned != 0 && i + 16 <= bytes) {
      *(device uint4*)(dst + i) = *(device const uint4*)(src + i);
    } else {
      for (ulong k = i; k < min(i + 16, bytes); ++k) dst[k] = src[k];
    }
  }
}

// Every element of out becomes the value.
kernel void fill(device uchar* out [[buffer(0)]], constant FillKargs& args [[buffer(1)]],
                 uint thread_index [[thread_position_in_grid]], uint threads [[threads_per_grid]]) {
  for (ulong i = thread_index; i < ulong(args.loops.numel); i += threads) {
    long at[1];
    loop_offsets<1>(args.loops, i, at);
    if (is_integer_type(kTarget)) {
      store_integer(out, ulong(at[0]), kTarget, args.integer);
    } else {
      store_float(out, ulong(at[0]), kTarget, args.floating);
    }
  }
}
