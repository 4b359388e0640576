#pragma once

#include <vector>

#include "wick/apple/metal.hpp"

/// A command buffer that can be committed piece by piece.
namespace wick::apple::mps {

/// Work for the GPU that goes on after a commit, by MPSCommandBuffer. Temporary matrices live through
/// commit_and_continue(), so that a long row of kernels need not wait for its end before the GPU begins.
class CommandBuffer {
 public:
  /// On a new command buffer of the queue. Throws Error kBackend when there is none.
  explicit CommandBuffer(const metal::CommandQueue& queue);
  /// What kernels and encoders are encoded to, before and after commit_and_continue().
  metal::CommandBuffer& work() noexcept { return work_; }
  /// Hands over what was encoded so far; more can be encoded at once. Throws Error kArgument while an encoder is open and
  /// after commit().
  void commit_and_continue();
  /// Hands over the rest; as above.
  void commit();
  /// Waits until all pieces have ended. Throws Error kBackend with Metal's reason for the first that failed, Error kArgument
  /// before commit().
  void wait();

 private:
  metal::CommandBuffer work_;
  std::vector<Ref<objc::MTLCommandBuffer>> pieces_;  // of commit_and_continue()
  bool committed_ = false;
};

}  // namespace wick::apple::mps
