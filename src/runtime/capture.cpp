#include "runtime/capture.hpp"

#include <utility>

namespace wick {

void Capture::begin(Stream& stream, std::shared_ptr<GraphMemory> beside) {
  std::thread::id nobody;
  if (!thread_.compare_exchange_strong(nobody, std::this_thread::get_id())) {
    throw Error(ErrorKind::kArgument, "stream", "a capture has begun already");
  }
  try {
    if (beside == nullptr) {
      memory_ = std::make_shared<GraphMemory>(allocator_, allocator_.begin_pool(stream));
    } else {
      allocator_.reopen_pool(beside->pool(), stream);
      memory_ = std::move(beside);
    }
  } catch (...) {
    end();
    throw;
  }
}

std::shared_ptr<GraphMemory> Capture::end() noexcept {
  std::shared_ptr<GraphMemory> memory = std::exchange(memory_, nullptr);
  if (memory != nullptr) allocator_.end_pool(memory->pool());
  thread_.store({}, std::memory_order_relaxed);
  return memory;
}

void Capture::check_own() const {
  if (!is_own()) throw Error(ErrorKind::kArgument, "stream", "no capture was begun");
}

}  // namespace wick
