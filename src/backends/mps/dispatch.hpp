#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "backends/mps/kernel_library.hpp"
#include "backends/mps/memory_map.hpp"
#include "backends/mps/mps_stream.hpp"
#include "layout/tensor_view.hpp"
#include "wick/apple/metal.hpp"
#include "wick/runtime/stream.hpp"

// The host side of a kernel of ours: its pipeline, its arguments in their order, its grid.

namespace wick::mps {

/// Threads of a simdgroup on every GPU that Metal runs on today.
inline constexpr std::uint32_t kSimdWidth = 32;

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// One launch of a kernel:
///
///   Dispatch(stream, {"softmax", "softmax", {0, dtype_of(a.x)}})
///       .buffer(a.x).buffer(a.out).value(SoftmaxKargs{...}).groups({rows}, {256});
///
/// Arguments take the indices 0, 1, 2, … in the order of the calls. The last call encodes; until then the stream belongs to
/// this thread alone, so that nothing that allocates may stand in between.
class Dispatch {
 public:
  /// `work` estimates the floating-point operations, for the size of command buffers. Throws Error kBackend when the kernel cannot be compiled.
  Dispatch(Stream& stream, const KernelId& kernel, double work = 0);

  /// Binds memory of the device from the view's first element on; a view that was not given, or one of no elements, binds
  /// memory that must not be used.
  Dispatch& buffer(const TensorView& view);
  /// The same of memory that is no tensor (Scratch); null binds memory that must not be used.
  Dispatch& memory(const void* data);
  /// Binds a buffer.
  Dispatch& metal_buffer(const apple::metal::Buffer& buffer, std::size_t offset = 0);
  /// Binds the record in which kernels note an index out of range (fault.hpp).
  Dispatch& fault() { return metal_buffer(stream_.fault_record()); }
  /// Binds a copy of a struct that the kernel shares with the host.
  template <class T>
  Dispatch& value(const T& arguments) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 4096 && sizeof(T) % 4 == 0);
    return bytes(std::as_bytes(std::span(&arguments, 1)));
  }
  /// Binds a copy of at most 4,096 bytes.
  Dispatch& bytes(std::span<const std::byte> copied);

  /// Runs whole threadgroups.
  void groups(apple::metal::Size count, apple::metal::Size threads_per_group);
  /// Runs a grid of threads; the threadgroups at its end may be smaller.
  void threads(apple::metal::Size count, apple::metal::Size threads_per_group);
  /// Runs a thread for each of `items` items, but at most 2^22 threads: the kernel goes on in steps of the grid.
  void items(std::int64_t count);
  /// Runs a grid of a thread for each element of a matrix: x is its column, y its row.
  void elements(std::int64_t rows, std::int64_t columns);

 private:
  MpsStream& stream_;
  MpsStream::Encoding encoding_;
  apple::metal::ComputeEncoder& encoder_;
  std::uint32_t next_ = 0;
};

/// A dtype as a function constant of common.metal.
inline std::uint32_t dtype_of(const TensorView& view) {
  return static_cast<std::uint32_t>(view.dtype);
}

/// True when `data` is a multiple of `bytes`.
inline bool is_aligned(const void* data, std::size_t bytes) {
  // SAFETY: the address is only looked at for its low bits.
  return reinterpret_cast<std::uintptr_t>(data) % bytes == 0;
}

}  // namespace wick::mps
