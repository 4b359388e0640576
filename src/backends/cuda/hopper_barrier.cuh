#pragma once

#include <cstdint>

#include <cuda.h>

// Barriers in shared memory (mbarrier), the copy engine (TMA) and clusters of blocks, from compute capability 9.0 on.

namespace wick::cuda::hopper {

__device__ __forceinline__ unsigned cluster_rank() {
  unsigned rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

/// Every thread of the cluster meets here; what they wrote to shared memory is seen by all.
__device__ __forceinline__ void meet_cluster() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/// The two halves of it, but for what was written: all have come to arrive_at_cluster() when wait_for_cluster() is over.
__device__ __forceinline__ void arrive_at_cluster() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}
__device__ __forceinline__ void wait_for_cluster() {
  asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
}

/// *to = value in the shared memory of another block of the cluster, where `to` is the place in one's own.
template <class T>
__device__ __forceinline__ void store_at(unsigned rank, T* to, const T& value) {
  static_assert(sizeof(T) == 16 && alignof(T) == 16);
  const uint4 words = __builtin_bit_cast(uint4, value);
  asm volatile(
      "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
      "st.shared::cluster.v4.u32 [remote], {%2, %3, %4, %5};\n}\n" ::"r"(
          static_cast<unsigned>(__cvta_generic_to_shared(to))),
      "r"(rank), "r"(words.x), "r"(words.y), "r"(words.z), "r"(words.w)
      : "memory");
}

/// Four floats in the shared memory of another block of the cluster, where `own` is the place in one's own.
__device__ __forceinline__ float4 load_four_from(unsigned rank, const float* own) {
  float4 four;
  asm volatile(
      "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %4, %5;\n"
      "ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [remote];\n}\n"
      : "=f"(four.x), "=f"(four.y), "=f"(four.z), "=f"(four.w)
      : "r"(static_cast<unsigned>(__cvta_generic_to_shared(own))), "r"(rank)
      : "memory");
  return four;
}

/// A phase is over when `arrivals` threads have arrived and all announced bytes are there.
struct Barrier {
  unsigned address;

  __device__ __forceinline__ void init(int arrivals) const {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(address), "r"(arrivals)
                 : "memory");
  }
  __device__ __forceinline__ void arrive() const {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(address) : "memory");
  }
  /// At the same barrier of another block of the cluster.
  __device__ __forceinline__ void arrive_at(unsigned rank) const {
    asm volatile(
        "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
        "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}\n" ::"r"(address),
        "r"(rank)
        : "memory");
  }
  /// As above; what this thread wrote, or saw written, is seen by all who wait_for_cluster().
  __device__ __forceinline__ void publish_at(unsigned rank) const {
    asm volatile(
        "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
        "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];\n}\n" ::"r"(address),
        "r"(rank)
        : "memory");
  }
  __device__ __forceinline__ void arrive_and_expect(int bytes) const {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address), "r"(bytes)
                 : "memory");
  }
  /// Waits for the end of the phase of that parity.
  __device__ __forceinline__ void wait(unsigned parity) const {
    asm volatile(
        "{\n.reg .pred done;\nagain:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@done bra over;\nbra again;\nover:\n}\n" ::"r"(address),
        "r"(parity)
        : "memory");
  }
  /// As above, for what threads of other blocks have published.
  __device__ __forceinline__ void wait_for_cluster(unsigned parity) const {
    asm volatile(
        "{\n.reg .pred done;\nagain:\n"
        "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%0], %1;\n"
        "@done bra over;\nbra again;\nover:\n}\n" ::"r"(address),
        "r"(parity)
        : "memory");
  }
};

/// Goes through the stages again and again; `parity` says which time.
template <int kStages>
struct Ring {
  int stage = 0;
  unsigned parity = 0;
  __device__ __forceinline__ void next() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
  __device__ __forceinline__ void skip(int count) {
    const int at = stage + count;
    parity ^= static_cast<unsigned>(at / kStages) & 1U;
    stage = at % kStages;
  }
};

/// Makes initialised barriers known to the cluster.
__device__ __forceinline__ void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

/// What this thread stored to shared memory is seen by the tensor cores and the copy engine.
__device__ __forceinline__ void publish_stores() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/// What this thread knows of global memory, stored by itself or seen, is seen by the copy engine.
__device__ __forceinline__ void publish_to_copies() {
  asm volatile("fence.proxy.async;" ::: "memory");
}

/// A word by which one block tells others that its results lie in global memory.
__device__ __forceinline__ unsigned load_acquire(const unsigned* from) {
  unsigned value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
  return value;
}
__device__ __forceinline__ void add_release(unsigned* to, unsigned value) {
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(to), "r"(value) : "memory");
}

/// The 128 threads of a warpgroup meet; each has a number of its own, above 0.
__device__ __forceinline__ void meet_warpgroup(int number) {
  asm volatile("bar.sync %0, 128;" ::"r"(number) : "memory");
}

/// A word, or 16 bytes, in the block's own shared memory.
__device__ __forceinline__ unsigned load_shared(unsigned address) {
  unsigned value;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
  return value;
}
__device__ __forceinline__ uint4 load_shared_pack(unsigned address) {
  uint4 pack;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(pack.x), "=r"(pack.y), "=r"(pack.z), "=r"(pack.w)
               : "r"(address)
               : "memory");
  return pack;
}
__device__ __forceinline__ void store_shared(unsigned address, unsigned value) {
  asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(value) : "memory");
}

/// Copies a box from (column, row) on to shared memory; `barrier` hears of its bytes.
__device__ __forceinline__ void copy_box(unsigned to, const CUtensorMap& map, int column, int row,
                                         Barrier barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, "
      "%4}], "
      "[%2];" ::"r"(to),
      "l"(&map), "r"(barrier.address), "r"(column), "r"(row)
      : "memory");
}

/// As above to the same place of every block in `blocks`, a bit for each.
__device__ __forceinline__ void copy_box_to(unsigned short blocks, unsigned to,
                                            const CUtensorMap& map, int column, int row,
                                            Barrier barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::"
      "cluster "
      "[%0], [%1, {%3, %4}], [%2], %5;" ::"r"(to),
      "l"(&map), "r"(barrier.address), "r"(column), "r"(row), "h"(blocks)
      : "memory");
}

/// How many registers each thread of this warpgroup has from here on.
template <int kRegisters>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

}  // namespace wick::cuda::hopper
