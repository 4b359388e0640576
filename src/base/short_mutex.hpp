#pragma once

#include <mutex>

#include "base/platform.hpp"

namespace wick::detail {

/// A mutex for what takes less time than putting a thread to sleep: a thread that finds it held tries again for some
/// microseconds before it sleeps.
class ShortMutex {
 public:
  void lock() {
    constexpr int kTries = 200;
    for (int i = 0; i < kTries; ++i) {
      if (mutex_.try_lock()) return;
      pause_processor();
    }
    mutex_.lock();
  }
  bool try_lock() { return mutex_.try_lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

}  // namespace wick::detail
