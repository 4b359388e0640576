#pragma once

#include <atomic>

#include "base/platform.hpp"

namespace wick::detail {

/// A mutex for what takes less time than putting a thread to sleep: a thread that finds it held tries again for some
/// microseconds before it sleeps.
class ShortMutex {
 public:
  void lock() noexcept {
    constexpr int kTries = 200;
    for (int i = 0; i < kTries; ++i) {
      if (try_lock()) return;
      pause_processor();
    }
    while (state_.exchange(kAwaited, std::memory_order_acquire) != kFree) {
      state_.wait(kAwaited, std::memory_order_relaxed);
    }
  }
  bool try_lock() noexcept {
    int expected = kFree;
    return state_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire,
                                          std::memory_order_relaxed);
  }
  void unlock() noexcept {
    if (state_.exchange(kFree, std::memory_order_release) == kAwaited) state_.notify_one();
  }

 private:
  enum : int { kFree, kHeld, kAwaited };  ///< kAwaited: held, and a thread may be asleep
  std::atomic<int> state_ = kFree;
};

}  // namespace wick::detail
