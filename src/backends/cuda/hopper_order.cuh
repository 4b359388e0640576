#pragma once

// The order of two kernels that overlap (programmatic dependent launch), from compute capability 9.0 on; nothing before.

namespace wick::cuda::hopper {

/// The next kernel may begin if it was launched by launch_early_on() or launch_overlapping().
__device__ __forceinline__ void let_next_begin() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// Waits until the kernel before is over and its results are seen.
__device__ __forceinline__ void wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Brings a line of memory to the cache of the whole GPU, whoever may still write to it.
__device__ __forceinline__ void prefetch(const void* line) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(line));
}

/// The beginning of a kernel that reads and writes nothing before: only its launch overlaps the kernel before it.
__device__ __forceinline__ void overlap() {
  let_next_begin();
  wait_for_previous();
}

}  // namespace wick::cuda::hopper
