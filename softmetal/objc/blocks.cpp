#include "softmetal/objc/blocks.hpp"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "softmetal/softmetal.hpp"

// The block runtime, as far as handlers need it. A copy of a global block would be the block itself; Wick makes none.

extern "C" {

SOFTMETAL_API void* _NSConcreteStackBlock[32];

namespace {
struct Descriptor {
  unsigned long reserved;
  unsigned long size;
  void (*copy)(void* destination, const void* source);
  void (*dispose)(const void* block);
};
struct Literal {
  void* isa;
  std::int32_t flags;
  std::atomic<std::int32_t> references;  // the reserved word, which copies use
  void (*invoke)();
  const Descriptor* descriptor;
};
constexpr std::int32_t kHasCopyDispose = 1 << 25;
void* heap_block_class[32];
}  // namespace

SOFTMETAL_API void* _Block_copy(const void* block) {
  if (block == nullptr) return nullptr;
  const auto* source = static_cast<const Literal*>(block);
  auto* copy = static_cast<Literal*>(std::malloc(source->descriptor->size));
  std::memcpy(static_cast<void*>(copy), block, source->descriptor->size);
  copy->isa = static_cast<void*>(heap_block_class);
  copy->references.store(1);
  if ((copy->flags & kHasCopyDispose) != 0) copy->descriptor->copy(copy, block);
  return copy;
}

SOFTMETAL_API void _Block_release(const void* block) {
  auto* literal = static_cast<Literal*>(const_cast<void*>(block));
  if (literal->references.fetch_sub(1) != 1) return;
  if ((literal->flags & kHasCopyDispose) != 0) literal->descriptor->dispose(literal);
  std::free(literal);
}
}
