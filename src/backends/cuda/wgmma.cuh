#pragma once

#include <cstdint>

#include "backends/cuda/device_math.cuh"

// Hopper's tensor cores (wgmma, compute capability 9.0a): a warpgroup of four warps multiplies from shared memory. Each of
// its threads holds of the sums [64,N] the columns 8 n + 2 (lane % 4) and the next, elements 0 and 1 of sum[n] in row
// 16 warp + lane / 4, elements 2 and 3 in the row 8 below.

namespace wick::cuda::hopper {

/// Where a tile of an operand lies in shared memory. See "Asynchronous warpgroup level matrix shared memory layout" in the
/// PTX manual.
struct MatrixDescriptor {
  std::uint64_t bits;

  /// Rows of 32, 64 or 128 bytes along K, in groups of eight, swizzled by as many bytes.
  static __device__ __forceinline__ MatrixDescriptor along_k(unsigned address,
                                                             int row_bytes = 128) {
    const std::uint64_t swizzle = row_bytes == 128 ? 1 : row_bytes == 64 ? 2 : 3;
    return {encode(address) | encode(16) << 16 | encode(8 * row_bytes) << 32 | swizzle << 62};
  }
  /// Rows of 128 bytes along M or N, one for each k, swizzled by 128 bytes; the next 64 elements lie `next` bytes on.
  static __device__ __forceinline__ MatrixDescriptor across_k(unsigned address, unsigned next) {
    return {encode(address) | encode(next) << 16 | encode(1024) << 32 | std::uint64_t{1} << 62};
  }
  __device__ __forceinline__ MatrixDescriptor plus(unsigned bytes) const {
    return {bits + (bytes >> 4)};
  }

 private:
  static __device__ __forceinline__ std::uint64_t encode(unsigned bytes) {
    return (bytes & 0x3FFFFU) >> 4;
  }
};

/// Orders what the warpgroup's threads did to the sums before with the products that follow.
__device__ __forceinline__ void begin_products() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until at most kPending committed groups are not done.
template <int kPending>
__device__ __forceinline__ void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

/// sum [64,N] = a [64,16] b [N,16]ᵀ + (adds ? sum : 0), both in shared memory; kAcrossK: b's rows run along N.
template <class T, int N, bool kAcrossK>
struct Products;

/// sum [64,N] += a [64,16] b [N,16]ᵀ, a in registers, b in shared memory along K. The rows of a thread are those that it has
/// of sums; a[0] are the columns 2 (lane % 4) and the next of the upper row, a[1] those of the row 8 below, a[2] and a[3] the
/// columns 8 further on. So two neighbouring eights of sums, rounded in pairs, are such an operand.
template <class T, int N>
struct RegisterProducts;

// ---- The instructions, one for each dtype and width ---------------------------------------------

// The names of so many eights of sums, and the sums.
#define WICK_TEXT_2 "%0, %1, %2, %3, %4, %5, %6, %7"
#define WICK_TEXT_4 WICK_TEXT_2 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define WICK_TEXT_8 \
  WICK_TEXT_4 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define WICK_TEXT_16                                                                 \
  WICK_TEXT_8                                                                        \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47" \
  ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define WICK_TEXT_28                                                                         \
  WICK_TEXT_16                                                                               \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"         \
  ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"         \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, " \
  "%111"
#define WICK_TEXT_32                                                                       \
  WICK_TEXT_28                                                                             \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, " \
  "%126, %127"

#define WICK_SUMS_1(n) "+f"(sum[n][0]), "+f"(sum[n][1]), "+f"(sum[n][2]), "+f"(sum[n][3])
#define WICK_SUMS_2(n) WICK_SUMS_1(n), WICK_SUMS_1((n) + 1)
#define WICK_SUMS_4(n) WICK_SUMS_2(n), WICK_SUMS_2((n) + 2)
#define WICK_SUMS_8(n) WICK_SUMS_4(n), WICK_SUMS_4((n) + 4)
#define WICK_SUMS_16(n) WICK_SUMS_8(n), WICK_SUMS_8((n) + 8)
#define WICK_SUMS_28(n) WICK_SUMS_16(n), WICK_SUMS_8((n) + 16), WICK_SUMS_4((n) + 24)
#define WICK_SUMS_32(n) WICK_SUMS_16(n), WICK_SUMS_16((n) + 16)

// Operands are numbered behind the sums.
#define WICK_PRODUCTS(T, kind, N, eights, across, a_at, b_at, adds_at)                          \
  template <>                                                                                   \
  struct Products<T, N, across != 0> {                                                          \
    static __device__ __forceinline__ void add(float (&sum)[eights][4], MatrixDescriptor a,     \
                                               MatrixDescriptor b, bool adds) {                 \
      asm volatile("{\n.reg .pred adds;\nsetp.ne.b32 adds, %" #adds_at                          \
                   ", 0;\n"                                                                     \
                   "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." kind "." kind              \
                   " {" WICK_TEXT_##eights "}, %" #a_at ", %" #b_at ", adds, 1, 1, 0, " #across \
                                           ";\n}\n"                                             \
                   : WICK_SUMS_##eights(0)                                                      \
                   : "l"(a.bits), "l"(b.bits), "r"(static_cast<int>(adds)));                    \
    }                                                                                           \
  };

#define WICK_REGISTER_PRODUCTS(T, kind, N, eights, a0, a1, a2, a3, b_at)                          \
  template <>                                                                                     \
  struct RegisterProducts<T, N> {                                                                 \
    static __device__ __forceinline__ void add(float (&sum)[eights][4], const unsigned (&a)[4],   \
                                               MatrixDescriptor b) {                              \
      asm volatile(                                                                               \
          "{\n.reg .pred adds;\nsetp.eq.u32 adds, 0, 0;\n"                                        \
          "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." kind "." kind " {" WICK_TEXT_##eights \
          "}, {%" #a0 ", %" #a1 ", %" #a2 ", %" #a3 "}, %" #b_at ", adds, 1, 1, 0;\n}\n"          \
          : WICK_SUMS_##eights(0)                                                                 \
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.bits));                             \
    }                                                                                             \
  };

#define WICK_BOTH_DTYPES(define, ...) \
  define(bfloat16, "bf16", __VA_ARGS__) define(half, "f16", __VA_ARGS__)

WICK_BOTH_DTYPES(WICK_PRODUCTS, 16, 2, 0, 8, 9, 10)
WICK_BOTH_DTYPES(WICK_PRODUCTS, 32, 4, 0, 16, 17, 18)
WICK_BOTH_DTYPES(WICK_PRODUCTS, 64, 8, 0, 32, 33, 34)
WICK_BOTH_DTYPES(WICK_PRODUCTS, 64, 8, 1, 32, 33, 34)
WICK_BOTH_DTYPES(WICK_PRODUCTS, 128, 16, 0, 64, 65, 66)
WICK_BOTH_DTYPES(WICK_PRODUCTS, 128, 16, 1, 64, 65, 66)
WICK_BOTH_DTYPES(WICK_PRODUCTS, 224, 28, 0, 112, 113, 114)
WICK_BOTH_DTYPES(WICK_PRODUCTS, 224, 28, 1, 112, 113, 114)
WICK_BOTH_DTYPES(WICK_PRODUCTS, 256, 32, 0, 128, 129, 130)
WICK_BOTH_DTYPES(WICK_PRODUCTS, 256, 32, 1, 128, 129, 130)

WICK_BOTH_DTYPES(WICK_REGISTER_PRODUCTS, 64, 8, 32, 33, 34, 35, 36)
WICK_BOTH_DTYPES(WICK_REGISTER_PRODUCTS, 128, 16, 64, 65, 66, 67, 68)
WICK_BOTH_DTYPES(WICK_REGISTER_PRODUCTS, 224, 28, 112, 113, 114, 115, 116)
WICK_BOTH_DTYPES(WICK_REGISTER_PRODUCTS, 256, 32, 128, 129, 130, 131, 132)

#undef WICK_BOTH_DTYPES
#undef WICK_REGISTER_PRODUCTS
#undef WICK_PRODUCTS
#undef WICK_SUMS_1
#undef WICK_SUMS_2
#undef WICK_SUMS_4
#undef WICK_SUMS_8
#undef WICK_SUMS_16
#undef WICK_SUMS_28
#undef WICK_SUMS_32
#undef WICK_TEXT_2
#undef WICK_TEXT_4
#undef WICK_TEXT_8
#undef WICK_TEXT_16
#undef WICK_TEXT_28
#undef WICK_TEXT_32

}  // namespace wick::cuda::hopper
