#include "softmetal/msl/switch.hpp"

#include <cstdint>

#if defined(WICK_SOFTMETAL_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
asm(R"(
.text
.p2align 4
.globl softmetal_switch_stack
.hidden softmetal_switch_stack
.type softmetal_switch_stack,@function
softmetal_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size softmetal_switch_stack,.-softmetal_switch_stack
)");
constexpr int kSavedWords = 6;
#elif defined(__aarch64__)
asm(R"(
.text
.p2align 4
.globl softmetal_switch_stack
.hidden softmetal_switch_stack
.type softmetal_switch_stack,%function
softmetal_switch_stack:
  sub sp, sp, #176
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #176
  ret
.size softmetal_switch_stack,.-softmetal_switch_stack
)");
#else
#error "softmetal_switch_stack is written for x86-64 and AArch64"
#endif

namespace softmetal::msl {

void* make_stack(std::byte* top, void (*function)()) {
  auto* word =
      reinterpret_cast<void**>(reinterpret_cast<std::uintptr_t>(top) & ~std::uintptr_t{15});
  void* const start = reinterpret_cast<void*>(function);
#if defined(__x86_64__)
  *--word = nullptr;  // what would be the return address of the function
  *--word = start;    // to where the switch returns; the stack is then aligned as after a call
  for (int i = 0; i < kSavedWords; ++i) *--word = nullptr;
#else
  word -= 22;  // the frame of softmetal_switch_stack
  for (int i = 0; i < 22; ++i) word[i] = nullptr;
  word[11] = start;  // x30
#endif
  return word;
}

#if defined(WICK_SOFTMETAL_ASAN)
namespace {
thread_local const void* first_bottom = nullptr;
thread_local std::size_t first_size = 0;
}  // namespace
void start_switch(void** fake_stack, const void* bottom, std::size_t size) {
  __sanitizer_start_switch_fiber(fake_stack, bottom, size);
}
void finish_switch(void* fake_stack, const void** old_bottom, std::size_t* old_size) {
  const bool first = fake_stack == nullptr && old_bottom == nullptr;
  __sanitizer_finish_switch_fiber(fake_stack, first ? &first_bottom : old_bottom,
                                  first ? &first_size : old_size);
}
void note_scheduler_stack(const void** bottom, std::size_t* size) {
  *bottom = first_bottom;
  *size = first_size;
}
#else
void start_switch(void**, const void*, std::size_t) {}
void finish_switch(void*, const void**, std::size_t*) {}
void note_scheduler_stack(const void**, std::size_t*) {}
#endif

}  // namespace softmetal::msl
