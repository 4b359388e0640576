#pragma once

// To be included before any header of Highway: which instruction sets kernels are compiled for. Each
// costs compile time, so those that hardly differ from a neighbour are left out: on x86 the plain scalar
// code stands for what is below AVX2, AVX3 for all of AVX-512.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
