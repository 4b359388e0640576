#include "wick/apple/mps/copies.hpp"

#include <limits>
#include <vector>

#include "apple/mps/checks.hpp"
#include "apple/mps/mps_messages.hpp"

namespace wick::apple::mps {

using detail::EncodeChecks;
using detail::part;
using detail::Part;
using detail::refuse;

namespace {

std::uint32_t narrow(const std::string& op, std::uint64_t origin) {
  if (origin > std::numeric_limits<std::uint32_t>::max()) {
    refuse(op, "an origin must fit 32 bits; got " + std::to_string(origin));
  }
  return static_cast<std::uint32_t>(origin);
}

}  // namespace

MatrixCopy::MatrixCopy(const metal::Device& device, std::uint64_t rows, std::uint64_t columns,
                       bool sources_transposed, bool destinations_transposed)
    : device_(device),
      rows_(rows),
      columns_(columns),
      sources_transposed_(sources_transposed),
      destinations_transposed_(destinations_transposed) {
  const std::string op = "mps.matrix_copy";
  detail::check_positive(op, "the number of rows", rows);
  detail::check_positive(op, "the number of columns", columns);
  kernel_ = detail::make_kernel<objc::MPSMatrixCopy>(messages::init_copy, device.object().get(),
                                                     rows, columns, sources_transposed,
                                                     destinations_transposed);
}

void MatrixCopy::encode(metal::CommandBuffer& buffer, std::span<const CopyOperation> copies) const {
  const EncodeChecks checks("mps.matrix_copy", buffer, {0, 1}, 1);
  if (copies.empty()) refuse(checks.op(), "there must be at least 1 copy; got 0");
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
  const AutoreleaseScope scope;
  const auto descriptor = objc::make<objc::MPSMatrixCopyDescriptor>(
      messages::init_copies, device_.object().get(), copies.size());
  for (std::size_t i = 0; i < copies.size(); ++i) {
    const CopyOperation& one = copies[i];
    messages::set_copy(descriptor.get(), i, one.source.object().get(),
                       one.destination.object().get(),
                       {narrow(checks.op(), one.from.row), narrow(checks.op(), one.from.column),
                        narrow(checks.op(), one.to.row), narrow(checks.op(), one.to.column)});
  }
  messages::encode_copy(detail::kernel_as<objc::MPSMatrixCopy>(kernel_), buffer.object().get(),
                        descriptor.get());
}

}  // namespace wick::apple::mps
