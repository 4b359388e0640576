#include "wick/apple/mps/copies.hpp"

#include <vector>

#include "apple/mps/checks.hpp"
#include "apple/mps/mps_messages.hpp"

namespace wick::apple::mps {

using detail::EncodeChecks;
using detail::part;
using detail::Part;
using detail::refuse;

namespace {

constexpr std::string_view kOp = "mps.matrix_copy";

// The part that is copied lies inside of its matrix, whose rows and columns fit 32 bits.
std::uint32_t narrow(std::uint64_t origin) { return static_cast<std::uint32_t>(origin); }

void check_indices(const EncodeChecks& checks, std::string_view name,
                   const std::optional<Vector>& indices, std::uint64_t count,
                   const std::vector<Part>& destinations) {
  if (!indices) return;
  const Part all = part(name, *indices, 0, count);
  checks.type(all, {DataType::kUInt32});
  checks.inside(all);
  for (const Part& destination : destinations) checks.apart(destination, all);
}

objc::MPSVector* object_of(const std::optional<Vector>& vector) {
  return vector ? vector->object().get() : nullptr;
}

}  // namespace

MatrixCopy::MatrixCopy(const metal::Device& device, std::uint64_t rows, std::uint64_t columns,
                       bool sources_transposed, bool destinations_transposed)
    : device_(device),
      rows_(rows),
      columns_(columns),
      sources_transposed_(sources_transposed),
      destinations_transposed_(destinations_transposed) {
  const std::string op(kOp);
  detail::check_positive(op, "the number of rows", rows);
  detail::check_positive(op, "the number of columns", columns);
  kernel_ = detail::make_kernel<objc::MPSMatrixCopy>(messages::init_copy, device.object().get(),
                                                     rows, columns, sources_transposed,
                                                     destinations_transposed);
}

Ref<objc::MPSMatrixCopyDescriptor> MatrixCopy::describe(
    std::span<const CopyOperation> copies) const {
  auto descriptor = objc::make<objc::MPSMatrixCopyDescriptor>(
      messages::init_copies, device_.object().get(), copies.size());
  for (std::size_t i = 0; i < copies.size(); ++i) {
    const CopyOperation& one = copies[i];
    messages::set_copy(
        descriptor.get(), i, one.source.object().get(), one.destination.object().get(),
        {narrow(one.from.row), narrow(one.from.column), narrow(one.to.row), narrow(one.to.column)});
  }
  return descriptor;
}

void MatrixCopy::encode(metal::CommandBuffer& buffer, std::span<const CopyOperation> copies,
                        const CopyPermutation& permutation) const {
  const EncodeChecks checks(kOp, buffer, {0, 1}, 1);
  if (copies.empty()) refuse(kOp, "there must be at least 1 copy; got 0");
  std::vector<Part> sources, destinations;
  for (const CopyOperation& one : copies) {
    const bool s = sources_transposed_, d = destinations_transposed_;
    sources.push_back(
        part("the source", one.source, one.from, s ? columns_ : rows_, s ? rows_ : columns_));
    destinations.push_back(part("the destination", one.destination, one.to, d ? columns_ : rows_,
                                d ? rows_ : columns_));
    checks.same_type(sources.back(), destinations.back());
    checks.inside(sources.back());
    checks.inside(destinations.back());
  }
  for (std::size_t i = 0; i < copies.size(); ++i) {
    for (const Part& source : sources) checks.apart(destinations[i], source);
    for (std::size_t k = 0; k < i; ++k) checks.apart(destinations[i], destinations[k]);
  }
  check_indices(checks, "the row indices", permutation.rows, rows_, destinations);
  check_indices(checks, "the column indices", permutation.columns, columns_, destinations);
  const AutoreleaseScope scope;
  const auto descriptor = describe(copies);
  auto* const kernel = detail::kernel_as<objc::MPSMatrixCopy>(kernel_);
  if (!permutation.rows && !permutation.columns) {
    messages::encode_copy(kernel, buffer.object().get(), descriptor.get());
    return;
  }
  // What an offset into the indices means is not written down: it stays 0.
  messages::encode_permuted_copy(kernel, buffer.object().get(), descriptor.get(),
                                 object_of(permutation.rows), 0, object_of(permutation.columns), 0);
}

}  // namespace wick::apple::mps
