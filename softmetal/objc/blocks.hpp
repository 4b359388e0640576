#pragma once

#include "apple/objc/encoding.hpp"

// Blocks as a receiver sees them.

extern "C" {
void* _Block_copy(const void* block);
void _Block_release(const void* block);
}

namespace softmetal {

/// A copy of a block that may be called as long as this lives.
class BlockCopy {
 public:
  explicit BlockCopy(wick::apple::objc::BlockPointer block) : block_(_Block_copy(block.literal)) {}
  BlockCopy(BlockCopy&& other) noexcept : block_(other.block_) { other.block_ = nullptr; }
  BlockCopy(const BlockCopy&) = delete;
  BlockCopy& operator=(const BlockCopy&) = delete;
  ~BlockCopy() {
    if (block_ != nullptr) _Block_release(block_);
  }

  /// Calls it by the prototype that its receiver documents.
  template <class... A>
#if defined(__clang__)
  // A block takes every object by a pointer to its own class: the same call, but another type for the sanitizer.
  __attribute__((no_sanitize("function")))
#endif
  void
  call(A... arguments) const {
    // The third field of a block's literal is its function, behind isa, flags and a reserved word.
    using Invoke = void (*)(void*, A...);
    const auto invoke = *reinterpret_cast<Invoke*>(static_cast<char*>(block_) + 16);
    invoke(block_, arguments...);
  }

 private:
  void* block_;
};

}  // namespace softmetal
