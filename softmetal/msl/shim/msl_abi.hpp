#pragma once

#include <cstddef>
#include <cstdint>

// What the host and a compiled library of kernels share.

namespace msl::rt {

struct U3 {
  std::uint32_t x, y, z;
};

/// Where one thread is.
struct ThreadPlace {
  U3 in_grid, in_group, group;
  U3 threads_per_group, groups_per_grid, threads_per_grid;
  std::uint32_t index_in_group, index_in_simd, simd_in_group, simds_per_group;
};

/// What every lane of a simdgroup has deposited.
struct Lanes {
  const unsigned char* slots;  // kSlotBytes apart
  std::uint32_t active;        // bit i: lane i took part
  std::uint32_t lane;          // of the caller
};
inline constexpr std::size_t kSlotBytes = 64;
inline constexpr std::uint32_t kSimdWidth = 32;
inline constexpr std::uint32_t kBuffers = 31;

/// What kernels call in the host. `site` is the line of the call, which all threads that meet have to share.
struct Runtime {
  void (*barrier)(int site);
  Lanes (*exchange)(const void* value, std::size_t bytes, int site);
  std::uint32_t (*lane)();
  void* (*threadgroup_block)(std::uint32_t id, std::size_t bytes);
  bool (*constant_defined)(std::uint32_t index);
};

/// A function constant of the source.
struct Constant {
  const char* name;
  std::uint32_t index;
  std::uint32_t type;  // MTLDataType
  std::uint32_t bytes;
  void* (*address)();  // of this thread's copy
};

/// A threadgroup array that a kernel declares.
struct Local {
  std::uint32_t id;
  std::size_t bytes;
  const Local* next;
};

struct Kernel {
  const char* name;
  void (*entry)(void* const* buffers, void* const* threadgroup, const ThreadPlace& place);
  std::uint32_t buffers;              // bit i: [[buffer(i)]] is a parameter
  std::uint32_t written_buffers;      // bit i: and may be written
  std::uint32_t threadgroup;          // bit i: [[threadgroup(i)]]
  std::uint32_t max_threads;          // of [[max_total_threads_per_threadgroup]], else 1,024
  std::uint32_t min_bytes[kBuffers];  // what a reference needs
  const std::uint32_t* locals;        // ids of the threadgroup arrays, num_locals of them
  std::uint32_t num_locals;
  const std::uint32_t* constants;  // indices of the function constants that it uses
  std::uint32_t num_constants;
};

/// What a library exports as msl_library.
struct Library {
  const Kernel* kernels;
  std::uint32_t num_kernels;
  const Constant* constants;
  std::uint32_t num_constants;
  const Local* const* locals;  // the head of their list
  const Runtime** runtime;     // the host writes its own here
};

}  // namespace msl::rt
