#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

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

/// Tells the processor that this thread waits for another one's write.
inline void pause_processor() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Where programs keep what they can make again, below the user's home.
#if defined(__APPLE__)
inline constexpr const char* kCacheFolder = "Library/Caches";
#else
inline constexpr const char* kCacheFolder = ".cache";
#endif

/// Processors that this process may run on: fewer than the machine has under taskset or in a container.
int available_processors();

/// The file of the running program, to start it again. Throws Error kUnsupported where the system does not tell.
std::string program_path();

/// The most memory that this process has held at once.
std::int64_t peak_memory_bytes();

/// Has this process killed when the one that started it is gone, where the system knows how to.
void die_with_parent();

}  // namespace wick::detail
