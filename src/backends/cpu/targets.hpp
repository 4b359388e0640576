#pragma once

// To be included before any header of Highway: which instruction sets kernels are compiled for. Each
// costs compile time, so those that hardly differ from a neighbour are left out: on x86 the plain scalar
// code stands for what is below AVX2, AVX3 for all of AVX-512. On AArch64 NEON stands for SVE, whose vectors have a length
// that the compiler does not know, so that tiles cannot be arrays of them.
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
