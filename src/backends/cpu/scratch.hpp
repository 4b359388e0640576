#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/allocator.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::cpu {

/// Temporary memory of a kernel, from the device's allocator so that the statistics see it. Contents are
/// undefined at first.
class Scratch {
 public:
  Scratch(Stream& stream, std::size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void* data() const noexcept { return block_.data; }

 private:
  CachingAllocator& allocator_;
  Block block_;
};

/// `count` elements of T.
template <class T>
class ScratchArray {
 public:
  ScratchArray(Stream& stream, std::int64_t count)
      : memory_(stream, static_cast<std::size_t>(count) * sizeof(T)) {}

  T* data() const noexcept { return static_cast<T*>(memory_.data()); }
  T& operator[](std::int64_t i) const noexcept { return data()[i]; }

 private:
  Scratch memory_;
};

}  // namespace wick::cpu
