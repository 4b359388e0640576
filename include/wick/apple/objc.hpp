#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Ownership of Objective-C objects for C++: the part of wick::apple that its other headers stand on.
namespace wick::apple {

/// Any Objective-C object. Known by pointers alone: none is ever made or read from C++.
struct Object {};

/// Names of the classes and protocols that `Ref` is used with; they have no content here.
namespace objc {
struct MTLBuffer;
struct MTLCommandBuffer;
struct MTLCommandEncoder;
struct MTLCommandQueue;
struct MTLComputePipelineState;
struct MTLDevice;
struct MTLEvent;
struct MTLFunction;
struct MTLFunctionConstantValues;
struct MTLLibrary;
struct MPSKernel;
struct MPSMatrix;
struct MPSMatrixCopyDescriptor;
struct MPSMatrixDescriptor;
struct MPSMatrixRandomDistributionDescriptor;
struct MPSNDArray;
struct MPSNDArrayDescriptor;
struct MPSVector;
struct MPSVectorDescriptor;
}  // namespace objc

namespace detail {
void retain(Object* object) noexcept;
void release(Object* object) noexcept;
}  // namespace detail

/// Owns one reference to an object of class T, or nothing. Made by adopt() or retain() alone, so that each place says
/// whether the object came with a reference (+1: alloc, new, copy, Create) or without one (+0: getters, factories).
///
/// A template in a public header, because the class of the object is part of its type.
template <class T>
class Ref {
 public:
  Ref() = default;
  /// Takes over the reference that the caller owns.
  static Ref adopt(T* object) noexcept { return Ref(object); }
  /// Adds a reference of its own.
  static Ref retain(T* object) noexcept {
    detail::retain(object);
    return Ref(object);
  }
  Ref(const Ref& other) noexcept : object_(other.object_) { detail::retain(object_); }
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(const Ref& other) noexcept {
    if (this == &other) return *this;
    Ref copy(other);
    std::swap(object_, copy.object_);
    return *this;
  }
  Ref& operator=(Ref&& other) noexcept {
    Ref moved(std::move(other));
    std::swap(object_, moved.object_);
    return *this;
  }
  ~Ref() { detail::release(object_); }

  /// The object, lent for as long as this lives; null when this owns nothing.
  T* get() const& noexcept { return static_cast<T*>(object_); }
  // Lending from a temporary would dangle.
  T* get() const&& = delete;
  /// Whether this owns an object.
  explicit operator bool() const noexcept { return object_ != nullptr; }
  /// Gives the reference away: the caller owns it now.
  T* leak() && noexcept { return static_cast<T*>(std::exchange(object_, nullptr)); }

 private:
  explicit Ref(Object* object) noexcept : object_(object) {}

  Object* object_ = nullptr;
};

/// While it lives, objects that are autoreleased on this thread are kept; at its end they are released. Every function of
/// wick::apple opens one where it needs one; a program opens its own around a unit of work to save time.
class AutoreleaseScope {
 public:
  AutoreleaseScope() noexcept;
  ~AutoreleaseScope();
  AutoreleaseScope(const AutoreleaseScope&) = delete;
  AutoreleaseScope& operator=(const AutoreleaseScope&) = delete;

 private:
  void* pool_;
};

/// How a method that Wick may send stands in the running system.
enum class MethodState {
  kSame,     ///< with the type that Wick was compiled for
  kOther,    ///< with another type: to send it would be undefined
  kMissing,  ///< not at all, as with what came with a later version
};

/// One method of the table that messages are checked against when Wick is compiled.
struct MethodCheck {
  std::string_view owner;     ///< class or protocol
  char kind;                  ///< '-' of instances, '+' of the class
  std::string_view selector;  ///< its name
  std::string_view
      expected;       ///< the type, as Objective-C encodes it, without offsets and qualifiers
  std::string found;  ///< the same of the system; empty where it has none
  MethodState state;  ///< what follows
};

/// Every method of the table, looked up in the classes and protocols of the running system.
std::vector<MethodCheck> check_methods();

}  // namespace wick::apple
