#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "apple/objc/encoding.hpp"

// Blocks without -fblocks: the literal that the compiler would make, whose captured value is a std::function.

extern "C" {
// NOLINTNEXTLINE(readability-identifier-naming,bugprone-reserved-identifier): the block runtime's name
extern void* _NSConcreteStackBlock[32];
}

namespace wick::apple::objc {

template <class Signature>
class Block;

/// A block on the stack. Who keeps it copies it, as Metal does: this object may end right after the call.
template <class R, class... A>
class Block<R(A...)> {
 public:
  explicit Block(std::function<R(A...)> function)
      : literal_{&_NSConcreteStackBlock,
                 kHasCopyDispose,
                 0,
                 &invoke,
                 &kDescriptor,
                 std::make_shared<std::function<R(A...)>>(std::move(function))} {}
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  Block(Block&&) = delete;
  Block& operator=(Block&&) = delete;
  ~Block() = default;

  /// To be passed on; lent for as long as this lives.
  BlockPointer pointer() const& { return {&literal_}; }

 private:
  using Function = std::shared_ptr<std::function<R(A...)>>;
  struct Descriptor;
  struct Literal {
    void* isa;
    std::int32_t flags;
    std::int32_t reserved;
    R (*invoke)(const void* block, A...);  // who calls it knows no Literal
    const Descriptor* descriptor;
    Function function;
  };
  struct Descriptor {
    unsigned long reserved;
    unsigned long size;
    void (*copy)(void* destination, const void* source);
    void (*dispose)(const void* block);
  };
  static constexpr std::int32_t kHasCopyDispose = 1 << 25;

  static R invoke(const void* block, A... arguments) {
    return (*static_cast<const Literal*>(block)->function)(arguments...);
  }
  // The runtime has copied the bytes already; the copy has to own the function too.
  static void copy(void* destination, const void* source) {
    std::construct_at(&static_cast<Literal*>(destination)->function,
                      static_cast<const Literal*>(source)->function);
  }
  static void dispose(const void* block) {
    std::destroy_at(&static_cast<const Literal*>(block)->function);
  }
  static constexpr Descriptor kDescriptor{0, sizeof(Literal), &copy, &dispose};

  Literal literal_;
};

}  // namespace wick::apple::objc
