#pragma once

#include <cstddef>

// Changes the stack that a thread runs on.

extern "C" {
/// Keeps the state of the caller on its stack, stores where, and goes on with the state stored at `load`.
void softmetal_switch_stack(void** save, void* load);
}

namespace softmetal::msl {

/// The state of a function that has not begun, on a fresh stack below `top`. It must not return.
void* make_stack(std::byte* top, void (*function)());

// What the address sanitizer has to be told; nothing in other builds.
void start_switch(void** fake_stack, const void* bottom, std::size_t size);
void finish_switch(void* fake_stack, const void** old_bottom, std::size_t* old_size);
/// Where the stack lies that the first switch to a fiber came from.
void note_scheduler_stack(const void** bottom, std::size_t* size);

}  // namespace softmetal::msl
