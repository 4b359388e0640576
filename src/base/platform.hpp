#pragma once

#include <cstddef>

// The only place outside the backends where the platform or the compiler is asked about.

#if defined(__SANITIZE_ADDRESS__)
#define WICK_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WICK_ADDRESS_SANITIZER 1
#endif
#endif

#if defined(WICK_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#endif

namespace wick::detail {

/// Tells the address sanitizer that nobody may touch these bytes; nothing in other builds.
inline void poison_memory([[maybe_unused]] const void* data, [[maybe_unused]] std::size_t bytes) {
#if defined(WICK_ADDRESS_SANITIZER)
  __asan_poison_memory_region(data, bytes);
#endif
}

/// Takes poison_memory() back.
inline void unpoison_memory([[maybe_unused]] const void* data, [[maybe_unused]] std::size_t bytes) {
#if defined(WICK_ADDRESS_SANITIZER)
  __asan_unpoison_memory_region(data, bytes);
#endif
}

/// A hint inside a spin loop.
inline void cpu_relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace wick::detail
