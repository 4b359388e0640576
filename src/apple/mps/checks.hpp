#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "apple/metal/refuse.hpp"
#include "apple/mps/mps_messages.hpp"
#include "wick/apple/mps/matrix.hpp"

// The rules of Metal Performance Shaders, checked before a kernel is encoded: MPS ends the process where one is broken.

namespace wick::apple::mps::detail {

using metal::detail::refuse;

/// What a TemporaryMatrix shares with its copies.
struct TemporaryStorage {
  TemporaryStorage(Ref<objc::MTLCommandBuffer> of, Ref<objc::MPSTemporaryMatrix> made)
      : owner(std::move(of)), object(std::move(made)) {}
  ~TemporaryStorage();
  TemporaryStorage(const TemporaryStorage&) = delete;
  TemporaryStorage& operator=(const TemporaryStorage&) = delete;

  Ref<objc::MTLCommandBuffer> owner;
  Ref<objc::MPSTemporaryMatrix> object;
};

/// The part of a matrix or a vector that a kernel works on.
struct Part {
  std::string_view name;  // "the left matrix"
  MatrixLayout layout;
  Object* buffer = nullptr;  // null for temporaries
  std::size_t offset = 0;
  Origin origin;
  std::uint64_t rows = 0;
  std::uint64_t columns = 0;
  const TemporaryStorage* temporary = nullptr;
};
Part part(std::string_view name, const Matrix& matrix, Origin origin, std::uint64_t rows,
          std::uint64_t columns);
Part part(std::string_view name, const Vector& vector, std::uint64_t start, std::uint64_t length);

/// How much of `available` there is from `origin` on, at most `wanted`.
std::uint64_t extent(std::uint64_t wanted, std::uint64_t available, std::uint64_t origin);

/// Checks what a kernel is about to do, one operand after another.
class EncodeChecks {
 public:
  /// Throws when nothing may be encoded. The batch is resolved against the result's matrices.
  EncodeChecks(std::string_view op, const metal::CommandBuffer& buffer, Batch batch,
               std::uint64_t result_matrices);
  const std::string& op() const { return op_; }
  Batch batch() const { return batch_; }
  /// Throws unless the part lies inside of each matrix of the batch and its storage may be used here.
  void inside(const Part& part) const;
  /// Throws when result and source have a byte in common.
  void apart(const Part& result, const Part& source) const;
  /// The same, but they may be the very same elements.
  void apart_or_same(const Part& result, const Part& source) const;
  /// Throws unless the type is one of these.
  void type(const Part& part, std::initializer_list<DataType> allowed) const;
  /// Throws unless the two have the same type.
  void same_type(const Part& a, const Part& b) const;

 private:
  bool overlap(const Part& a, const Part& b) const;
  std::string op_;
  const metal::CommandBuffer& buffer_;
  Batch batch_;
};

/// Throws unless the factor is a number that the type can hold.
void check_factor(const std::string& op, std::string_view name, double value, DataType type);
/// Throws unless the number is finite.
void check_finite(const std::string& op, std::string_view name, double value);
/// Throws unless the number is at least 1.
void check_positive(const std::string& op, std::string_view name, std::uint64_t value);

inline objc::MTLOrigin to_mtl(Origin origin) { return {origin.row, origin.column, 0}; }

/// A kernel object as the class that it was made as.
template <class K>
K* kernel_as(const Ref<objc::MPSKernel>& kernel) {
  return static_cast<K*>(kernel.get());
}
/// Makes a kernel, whose class is forgotten.
template <class T, class Init, class... A>
Ref<objc::MPSKernel> make_kernel(const Init& init, A... arguments) {
  const AutoreleaseScope scope;
  return Ref<objc::MPSKernel>::adopt(objc::make<T>(init, arguments...).leak());
}

}  // namespace wick::apple::mps::detail
