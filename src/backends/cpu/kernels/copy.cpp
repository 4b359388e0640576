#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/kernels/copy.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

#include "backends/cpu/cpu_kernels.hpp"
#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/dtype_switch.hpp"
#include "backends/cpu/element_blocks.hpp"
#include "backends/cpu/loop_nest.hpp"
#include "backends/cpu/simd-inl.hpp"
#include "base/truncate.hpp"
#include "layout/view_cast.hpp"
#include "runtime/args/elementwise_args.hpp"

#ifndef WICK_BACKENDS_CPU_KERNELS_COPY_CONVERTER
#define WICK_BACKENDS_CPU_KERNELS_COPY_CONVERTER
namespace wick::cpu {

// Converts n dense elements; both addresses are aligned to their elements.
using Converter = void (*)(const void* src, void* dst, std::int64_t n);

}  // namespace wick::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

// From one floating type to another, through f32.
template <class From, class To>
void convert_floats(const void* src, void* dst, std::int64_t n) {
  const From* const from = static_cast<const From*>(src);
  To* const to = static_cast<To*>(dst);
  for_each_vector(n, [&](std::int64_t i, std::int64_t count)
                         HWY_ATTR { store_some(load_some(from + i, count), to + i, count); });
}

Converter float_converter(DType from, DType to) {
  return switch_floating(from, [&]<class From>(std::type_identity<From>) {
    return switch_floating(to, [&]<class To>(std::type_identity<To>) -> Converter {
      return &convert_floats<From, To>;
    });
  });
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace wick::cpu {

HWY_EXPORT(float_converter);

namespace {

// ---- Values -------------------------------------------------------------------------------------

// `value` is a float, a double or an integer. Integers that do not fit wrap around.
template <class To, class From>
To convert_value(From value) {
  if constexpr (std::is_same_v<To, bool>) {
    return value != From{};
  } else if constexpr (!std::is_integral_v<To>) {
    return static_cast<To>(static_cast<float>(value));
  } else if constexpr (std::is_floating_point_v<From>) {
    return truncate<To>(value);
  } else {
    return static_cast<To>(value);
  }
}

// A byte of a bool may hold any number in memory that we did not write.
template <class T>
using Stored = std::conditional_t<std::is_same_v<T, bool>, std::uint8_t, T>;

template <class T>
auto readable_value(Stored<T> value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value != 0;
  } else if constexpr (std::is_integral_v<T>) {
    return value;
  } else {
    return static_cast<float>(value);
  }
}

template <class From, class To>
void convert_each(const void* src, void* dst, std::int64_t n) {
  const auto* const from = static_cast<const Stored<From>*>(src);
  To* const to = static_cast<To*>(dst);
  for (std::int64_t i = 0; i < n; ++i) to[i] = convert_value<To>(readable_value<From>(from[i]));
}

// Null where no conversion is needed.
Converter converter_for(DType from, DType to) {
  if (from == to) return nullptr;
  if (is_floating(from) && is_floating(to)) {
    return HWY_DYNAMIC_DISPATCH(float_converter)(from, to);
  }
  return switch_dtype(from, [&]<class From>(std::type_identity<From>) {
    return switch_dtype(
        to, [&]<class To>(std::type_identity<To>) -> Converter { return &convert_each<From, To>; });
  });
}

// ---- Moving bytes -------------------------------------------------------------------------------

// The elements of a tile, rows of columns; steps are in bytes.
struct Tile {
  std::int64_t row_step;
  std::int64_t column_step;
};

// Whether neighbours in a column lie closer together than neighbours in a row.
bool is_across(Tile tile) {
  return tile.row_step != 0 && std::abs(tile.row_step) < std::abs(tile.column_step);
}

using Mover = void (*)(const std::byte* src, Tile from, std::byte* dst, Tile to, std::int64_t rows,
                       std::int64_t columns);

// Elements of kSize bytes at any address, unconverted. Reads along the shorter steps of src, so
// that a line of the cache is used up before it may be pushed out.
template <std::size_t kSize>
void move_tile(const std::byte* src, Tile from, std::byte* dst, Tile to, std::int64_t rows,
               std::int64_t columns) {
  if (is_across(from)) {
    std::swap(rows, columns);
    std::swap(from.row_step, from.column_step);
    std::swap(to.row_step, to.column_step);
  }
  const bool dense = from.column_step == kSize && to.column_step == kSize;
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::byte* const in = src + r * from.row_step;
    std::byte* const out = dst + r * to.row_step;
    if (dense) {
      std::memcpy(out, in, static_cast<std::size_t>(columns) * kSize);
      continue;
    }
    for (std::int64_t c = 0; c < columns; ++c) {
      std::memcpy(out + c * to.column_step, in + c * from.column_step, kSize);
    }
  }
}

Mover mover_for(std::size_t size) {
  switch (size) {
    case 1:
      return &move_tile<1>;
    case 2:
      return &move_tile<2>;
    case 4:
      return &move_tile<4>;
    default:
      return &move_tile<8>;
  }
}

// ---- Copy ---------------------------------------------------------------------------------------

// A tile that is converted passes through two buffers of this many elements.
constexpr std::int64_t kTileElements = 1024;
// A transposition reads and writes this many cache lines in turn, far fewer than a cache holds.
constexpr std::int64_t kTransposedTileSide = 32;
// Plain memory is moved in larger pieces.
constexpr std::int64_t kMovedTileElements = 16384;

std::int64_t tiles_of(std::int64_t n, std::int64_t tile) { return (n + tile - 1) / tile; }

// How src and dst are walked: tiles over the loops `rows` and `columns`, inside the loops `outer`.
struct CopyPlan {
  LoopNest<2> outer;
  LoopDim<2> rows{1, {0, 0}};
  LoopDim<2> columns;
  std::int64_t tile_rows = 1;
  std::int64_t tile_columns = 1;
};

LoopNest<2> copy_loops(const CopyArgs& args) {
  std::array<LoopDim<2>, kMaxRank> dims{};
  const auto rank = static_cast<std::size_t>(args.dst.rank());
  for (std::size_t i = 0; i < rank; ++i) {
    dims[i] = {args.dst.dim(static_cast<int>(i)), {args.src.strides[i], args.dst.strides[i]}};
  }
  return nest_in_memory_order<2>(std::span(dims.data(), rank), 1);
}

// The loop outside the innermost one along which src lies closer together than along that one; the
// rank of the nest where there is none.
std::size_t transposed_axis(const LoopNest<2>& nest) {
  std::size_t found = nest.rank();
  std::int64_t closest = std::abs(nest.inner().strides[0]);
  for (std::size_t axis = 0; axis + 1 < nest.rank(); ++axis) {
    const std::int64_t stride = std::abs(nest.dim(axis).strides[0]);
    if (stride == 0 || stride >= closest) continue;
    closest = stride;
    found = axis;
  }
  return found;
}

CopyPlan make_plan(const CopyArgs& args) {
  const LoopNest<2> nest = copy_loops(args);
  const std::size_t last = nest.rank() - 1;
  const std::size_t across = transposed_axis(nest);
  const bool transposed = across < last;
  const std::size_t row_axis = transposed ? across : last - 1;  // none when last is 0
  CopyPlan plan;
  plan.columns = nest.inner();
  for (std::size_t axis = 0; axis < last; ++axis) {
    if (axis == row_axis) {
      plan.rows = nest.dim(axis);
    } else {
      plan.outer.add_inner(nest.dim(axis));
    }
  }
  const bool moved = args.src.dtype == args.dst.dtype && !transposed;
  const std::int64_t elements = moved ? kMovedTileElements : kTileElements;
  const std::int64_t rows_first = transposed ? std::min(plan.rows.size, kTransposedTileSide) : 1;
  plan.tile_columns = std::min(plan.columns.size, elements / rows_first);
  plan.tile_rows = std::min(plan.rows.size, elements / plan.tile_columns);
  return plan;
}

// Copies tiles from src to dst, converting on the way. Strides of tiles are in bytes.
class TileCopier {
 public:
  TileCopier(DType from, DType to)
      : convert_(converter_for(from, to)),
        from_size_(size_of(from)),
        to_size_(size_of(to)),
        gather_(mover_for(from_size_)),
        scatter_(mover_for(to_size_)) {}

  void copy(const std::byte* src, Tile from, std::byte* dst, Tile to, std::int64_t rows,
            std::int64_t columns) const {
    if (convert_ == nullptr && !is_across(from)) {
      gather_(src, from, dst, to, rows, columns);
    } else if (convert_ != nullptr && from.column_step == step(from_size_) &&
               to.column_step == step(to_size_) && is_aligned(src, from_size_) &&
               is_aligned(dst, to_size_)) {
      for (std::int64_t r = 0; r < rows; ++r) {
        convert_(src + r * from.row_step, dst + r * to.row_step, columns);
      }
    } else {
      copy_staged(src, from, dst, to, rows, columns);
    }
  }

 private:
  static std::int64_t step(std::size_t size) { return static_cast<std::int64_t>(size); }

  // Rows are whole elements apart, so the first address speaks for all.
  static bool is_aligned(const std::byte* address, std::size_t size) {
    // SAFETY: only the number of the address is looked at.
    return reinterpret_cast<std::uintptr_t>(address) % size == 0;
  }

  // Brings the tile together, converts it where that is needed, and spreads it out.
  void copy_staged(const std::byte* src, Tile from, std::byte* dst, Tile to, std::int64_t rows,
                   std::int64_t columns) const {
    constexpr std::size_t kLargestElement = 8;
    alignas(64) std::byte gathered[kTileElements * kLargestElement];
    alignas(64) std::byte converted[kTileElements * kLargestElement];
    const Tile dense_from{columns * step(from_size_), step(from_size_)};
    const Tile dense_to{columns * step(to_size_), step(to_size_)};
    gather_(src, from, gathered, dense_from, rows, columns);
    if (convert_ != nullptr) convert_(gathered, converted, rows * columns);
    scatter_(convert_ == nullptr ? gathered : converted, dense_to, dst, to, rows, columns);
  }

  Converter convert_;
  std::size_t from_size_;
  std::size_t to_size_;
  Mover gather_;
  Mover scatter_;
};

// Copies tile number `index` of the tiles of one turn of the outer loops.
void copy_tile(const CopyPlan& plan, const TileCopier& copier, const std::byte* src, std::byte* dst,
               std::int64_t from_size, std::int64_t to_size, std::int64_t index) {
  const std::int64_t across = tiles_of(plan.columns.size, plan.tile_columns);
  const std::int64_t row = index / across * plan.tile_rows;
  const std::int64_t column = index % across * plan.tile_columns;
  const Tile from{plan.rows.strides[0] * from_size, plan.columns.strides[0] * from_size};
  const Tile to{plan.rows.strides[1] * to_size, plan.columns.strides[1] * to_size};
  copier.copy(src + row * from.row_step + column * from.column_step, from,
              dst + row * to.row_step + column * to.column_step, to,
              std::min(plan.tile_rows, plan.rows.size - row),
              std::min(plan.tile_columns, plan.columns.size - column));
}

// n elements, `step` apart, at any address.
template <class T>
void fill_run(std::byte* run, std::int64_t step, std::int64_t n, T value) {
  for (std::int64_t i = 0; i < n; ++i) {
    std::memcpy(run + i * step * static_cast<std::int64_t>(sizeof(T)), &value, sizeof(T));
  }
}

LoopNest<1> fill_loops(const TensorView& out) {
  std::array<LoopDim<1>, kMaxRank> dims{};
  const auto rank = static_cast<std::size_t>(out.rank());
  for (std::size_t i = 0; i < rank; ++i) {
    dims[i] = {out.dim(static_cast<int>(i)), {out.strides[i]}};
  }
  return nest_in_memory_order<1>(std::span(dims.data(), rank), 0);
}

}  // namespace

// A task owns tiles. Every element is read once and written once; transpositions go by square tiles
// so that both sides use whole cache lines.
KernelStatus copy(Stream& stream, const CopyArgs& args) {
  if (args.dst.numel() == 0) return KernelStatus::ok();
  const CopyPlan plan = make_plan(args);
  const TileCopier copier(args.src.dtype, args.dst.dtype);
  const auto from_size = static_cast<std::int64_t>(size_of(args.src.dtype));
  const auto to_size = static_cast<std::int64_t>(size_of(args.dst.dtype));
  const auto* const src = static_cast<const std::byte*>(args.src.data);
  auto* const dst = static_cast<std::byte*>(args.dst.data);
  const std::int64_t tiles =
      tiles_of(plan.rows.size, plan.tile_rows) * tiles_of(plan.columns.size, plan.tile_columns);
  const std::int64_t grain = row_grain(plan.tile_rows * plan.tile_columns);
  parallel_for(
      stream, plan.outer.numel() * tiles, grain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t turn = i / tiles;
          for_each_run(plan.outer, turn, turn + 1,
                       [&](std::int64_t, std::int64_t, const Offsets<2>& start) {
                         copy_tile(plan, copier, src + start[0] * from_size,
                                   dst + start[1] * to_size, from_size, to_size, i % tiles);
                       });
        }
      });
  return KernelStatus::ok();
}

// out has any strides. A task owns blocks of out in the order of memory.
KernelStatus fill(Stream& stream, const FillArgs& args) {
  const LoopNest<1> nest = fill_loops(args.out);
  switch_dtype(args.out.dtype, [&]<class T>(std::type_identity<T>) {
    auto* const out = static_cast<std::byte*>(args.out.data);
    const T value = convert_value<T>(args.value);
    const std::int64_t step = nest.inner().strides[0];
    for_each_block(stream, nest.numel(), [&](std::int64_t begin, std::int64_t count) {
      for_each_run(
          nest, begin, begin + count, [&](std::int64_t, std::int64_t n, const Offsets<1>& start) {
            fill_run(out + start[0] * static_cast<std::int64_t>(sizeof(T)), step, n, value);
          });
    });
  });
  return KernelStatus::ok();
}

}  // namespace wick::cpu
#endif  // HWY_ONCE
