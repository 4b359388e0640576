#pragma once

#include <string_view>

#include "apple/objc/encoding.hpp"

// What is used of the Objective-C runtime: Apple's libobjc, or GCC's together with softmetal, which has the functions
// that GCC's lacks.

namespace wick::apple::objc {

using Implementation = void (*)();

extern "C" {
// NOLINTBEGIN(readability-identifier-naming): the runtime's names
#if defined(__APPLE__)
// SAFETY: never called as declared; find_implementation() hands it to a cast to the method's own prototype.
void objc_msgSend();
#else
Implementation objc_msg_lookup(Object* receiver, Selector* selector);
#endif
// NOLINTEND(readability-identifier-naming)
}

/// The function that a message reaches, to be called by its exact type. `receiver` is not null.
inline Implementation find_implementation([[maybe_unused]] Object* receiver,
                                          [[maybe_unused]] Selector* selector) {
#if defined(__APPLE__)
  static_assert(sizeof(void*) == 8, "only 64-bit systems");
#if !defined(__aarch64__)
#error \
    "on Intel Macs large structs return through another entry point; only Apple silicon is supported"
#endif
  // SAFETY: arm64 has one entry point for every prototype; the caller casts it to the method's own.
  return &objc_msgSend;
#else
  return objc_msg_lookup(receiver, selector);
#endif
}

/// The runtime's name for a selector.
Selector* register_selector(const char* name);
/// A class object, to which '+' messages go. Throws Error kUnsupported when the system has no such class.
Object* find_class(std::string_view name);
/// Throws Error kArgument: a message was about to go to nil.
[[noreturn]] void throw_nil_receiver(std::string_view owner, std::string_view selector);
/// Throws Error kBackend: an initialiser or factory answered nil.
[[noreturn]] void throw_nil_result(std::string_view owner, std::string_view selector);

}  // namespace wick::apple::objc
