#include "backends/mps/mps_allocator.hpp"

#include "backends/mps/mps_backend.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "wick/base/error.hpp"

namespace wick::mps {

void* BufferAllocator::allocate(std::size_t bytes) noexcept {
  try {
    const apple::metal::Buffer buffer = backend_.metal().buffer(bytes);
    backend_.memory().add(buffer);
    return buffer.contents();
  } catch (const Error&) {
    return nullptr;  // the caching allocator says how much there was
  }
}

// Work that was encoded with the buffer keeps it until it has ended.
void BufferAllocator::release(void* data, std::size_t bytes) noexcept {
  backend_.memory().remove(data, bytes);
}

void BufferAllocator::fill(void* data, std::byte value, std::size_t bytes,
                           Stream& stream) noexcept {
  try {
    mps_stream(stream).fill(data, value, bytes);
  } catch (const Error&) {
    return;  // what failed fails again with the kernel that comes next
  }
}

}  // namespace wick::mps
