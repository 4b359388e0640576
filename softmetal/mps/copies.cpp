#include <optional>

#include "softmetal/mps/kernel.hpp"

// MPSMatrixCopy and its descriptor.

namespace softmetal::mps {
namespace {

using wick::apple::objc::MPSMatrixCopyOffsets;

struct Operation {
  Hold<MatrixState> source, destination;
  MPSMatrixCopyOffsets offsets{};
};

class CopyDescriptorState final : public State {
 public:
  explicit CopyDescriptorState(std::uint64_t count) : operations(count) {}
  std::vector<Operation> operations;
};
using D = CopyDescriptorState;

Object* init_descriptor(Object* self, DeviceState&, std::uint64_t count) {
  if (count == 0) fault("a descriptor of no copies");
  return initialise<D>(self, count);
}
void set_operation(D& self, std::uint64_t index, MatrixState& source, MatrixState& destination,
                   MPSMatrixCopyOffsets offsets) {
  if (index >= self.operations.size())
    fault("index " + std::to_string(index) + " is beyond the count");
  self.operations[index] = {Hold(&source), Hold(&destination), offsets};
}

class CopyState final : public KernelState {
 public:
  CopyState(DeviceState& of, std::uint64_t r, std::uint64_t c, bool from, bool to)
      : KernelState(of),
        rows(r),
        columns(c),
        sources_transposed(from),
        destinations_transposed(to) {}
  const std::uint64_t rows, columns;
  const bool sources_transposed, destinations_transposed;
};
using C = CopyState;

Object* init_copy(Object* self, DeviceState& device, std::uint64_t rows, std::uint64_t columns,
                  bool sources, bool destinations) {
  if (rows == 0 || columns == 0) fault("copies no rows or no columns");
  return initialise<C>(self, device, rows, columns, sources, destinations);
}

/// One copy with its permutations.
struct Copy {
  Region from, to;
  bool from_transposed, to_transposed;
  std::optional<Region> rows, columns;

  static std::uint64_t index(const std::optional<Region>& permutation, std::uint64_t i) {
    return permutation ? static_cast<std::uint64_t>(permutation->get(0, 0, i)) : i;
  }
  void run(std::uint64_t row_count, std::uint64_t column_count) const {
    for (std::uint64_t i = 0; i < row_count; ++i) {
      for (std::uint64_t j = 0; j < column_count; ++j) {
        const std::uint64_t r = index(rows, i), c = index(columns, j);
        const std::uint64_t y = to_transposed ? c : r, x = to_transposed ? r : c;
        if (y >= to.rows() || x >= to.columns()) fault("a permutation goes beyond the destination");
        to.set(0, y, x, from_transposed ? from.get(0, j, i) : from.get(0, i, j));
      }
    }
  }
};

std::optional<Region> permutation(VectorState* vector, std::uint64_t offset, std::uint64_t count) {
  if (vector == nullptr) return std::nullopt;
  if (offset != 0) fault("what an offset of a permutation means is not written down");
  check_type("the permutation", vector->layout.type, {kUInt32});
  return Region("permutation vector", *vector, {}, 1, count, {0, 1});
}

void encode_permuted(C& self, CommandBufferState& buffer, D& descriptor, VectorState* rows,
                     std::uint64_t row_offset, VectorState* columns, std::uint64_t column_offset) {
  std::vector<Copy> copies;
  for (const Operation& op : descriptor.operations) {
    if (!op.source) fault("a copy of the descriptor was not set");
    if (op.source->layout.type != op.destination->layout.type) {
      fault("source and destination must have the same type");
    }
    const bool st = self.sources_transposed, dt = self.destinations_transposed;
    const auto& o = op.offsets;
    copies.push_back(
        {Region("source matrix", *op.source, {o.source_row, o.source_column, 0},
                st ? self.columns : self.rows, st ? self.rows : self.columns, {0, 1}),
         Region("destination matrix", *op.destination, {o.destination_row, o.destination_column, 0},
                dt ? self.columns : self.rows, dt ? self.rows : self.columns, {0, 1}),
         st, dt, permutation(rows, row_offset, self.rows),
         permutation(columns, column_offset, self.columns)});
  }
  for (const Copy& one : copies) {
    for (const Copy& other : copies) {
      refuse_overlap(one.to, other.from, "a source");
      if (&one != &other) refuse_overlap(one.to, other.to, "another destination");
      for (const auto* indices : {&other.rows, &other.columns}) {
        if (*indices) refuse_overlap(one.to, **indices, "a permutation");
      }
    }
  }
  for (const Operation& op : descriptor.operations) {
    op.source->note_read(buffer);
    op.destination->note_write(buffer);
  }
  self.encode(buffer, "MPSMatrixCopy", [copies, r = self.rows, c = self.columns] {
    for (const Copy& copy : copies) copy.run(r, c);
  });
}
void encode_copy(C& self, CommandBufferState& buffer, D& descriptor) {
  encode_permuted(self, buffer, descriptor, nullptr, 0, nullptr, 0);
}

}  // namespace

void register_copies() {
  ClassBuilder<"MPSMatrixCopyDescriptor">("MPSMatrixCopyDescriptor", "NSObject")
      .method<"initWithDevice:count:", &init_descriptor>()
      .method<"setCopyOperationAtIndex:sourceMatrix:destinationMatrix:offsets:", &set_operation>()
      .done();
  ClassBuilder<"MPSMatrixCopy">("MPSMatrixCopy", "MPSKernel")
      .method<"initWithDevice:copyRows:copyColumns:sourcesAreTransposed:destinationsAreTransposed:",
              &init_copy>()
      .method<"encodeToCommandBuffer:copyDescriptor:", &encode_copy>()
      .method<
          "encodeToCommandBuffer:copyDescriptor:rowPermuteIndices:rowPermuteOffset:"
          "columnPermuteIndices:columnPermuteOffset:",
          &encode_permuted>()
      .done();
}

}  // namespace softmetal::mps
