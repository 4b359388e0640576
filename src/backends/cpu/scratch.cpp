#include "backends/cpu/scratch.hpp"

#include "backends/cpu/cpu_backend.hpp"

namespace wick::cpu {

Scratch::Scratch(Stream& stream, std::size_t bytes)
    : allocator_(static_cast<CpuStream&>(stream).backend().allocator()),
      block_(allocator_.allocate(bytes, stream)) {}

Scratch::~Scratch() { allocator_.release(block_, {}); }

}  // namespace wick::cpu
