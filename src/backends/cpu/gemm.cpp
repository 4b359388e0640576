#include "backends/cpu/gemm.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "backends/cpu/bf16_products.hpp"
#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/gemm_double.hpp"
#include "backends/cpu/gemm_plain.hpp"
#include "backends/cpu/gemm_plan.hpp"
#include "backends/cpu/gemm_tiles.hpp"
#include "backends/cpu/scratch.hpp"
#include "backends/cpu/sgemm.hpp"
#include "wick/runtime/settings.hpp"

namespace wick::cpu {

namespace {

constexpr std::int64_t divide_up(std::int64_t n, std::int64_t d) { return (n + d - 1) / d; }

// ---- Operands -----------------------------------------------------------------------------------

Operand part_of(const Operand& x, std::int64_t g, std::int64_t row, std::int64_t column) {
  const std::int64_t index = g * x.batch_stride + row * x.row_stride + column * x.column_stride;
  Operand part = x;
  part.data =
      static_cast<const std::byte*>(x.data) + index * static_cast<std::int64_t>(size_of(x.dtype));
  return part;
}

// `x` as f32 in `panel`, rows contiguous, or columns where x has those and `keep_columns`. What is
// returned points to the panel.
Operand packed(const Operand& x, std::int64_t row, std::int64_t column, std::int64_t rows,
               std::int64_t columns, bool keep_columns, float* panel) {
  Operand result{.data = panel, .row_stride = columns};
  if (keep_columns && x.map == nullptr && x.row_stride == 1 && x.column_stride != 1) {
    Operand transposed = x;
    std::swap(transposed.row_stride, transposed.column_stride);
    panel_to_float(transposed, columns, rows, panel);
    result.row_stride = 1;
    result.column_stride = rows;
    return with_plain_strides(result, rows, columns);
  }
  panel_to_float(x, rows, columns, panel);
  if (x.map != nullptr) (*x.map)({panel, columns, row, column, rows, columns});
  return result;
}

// ---- Blocks -------------------------------------------------------------------------------------

// `a` and p.b lie ready or are panels.
void multiply_by_library(const TileProduct& p, const Operand& a) {
  const auto as_operand = [](const Operand& x, std::int64_t columns) {
    const bool rows = rows_contiguous(x, columns) && x.row_stride <= kSgemmLargest;
    return SgemmOperand{.data = static_cast<const float*>(x.data),
                        .stride = rows ? x.row_stride : x.column_stride,
                        .transposed = !rows};
  };
  sgemm({.M = p.M,
         .N = p.N,
         .K = p.K,
         .alpha = p.alpha,
         .a = as_operand(a, p.K),
         .b = as_operand(p.b, p.N),
         .beta = p.beta,
         .c = p.c,
         .c_stride = p.c_stride});
}

// The block of c whose first element is (row, column) of the g-th matrix, and the scratch for it.
struct Block {
  std::int64_t g, row, column;
  std::int64_t rows, columns;
  float* a_panel;
  float* b_panel;
  float* strips;
  BFloat16* bf16_strips;
};

// Where a block is summed: [rows, columns], or [columns, rows] where the plan says so.
struct Sums {
  float* data;
  std::int64_t stride;
};

// Elements [k, k + depth) of a term along K, as the block sees them.
struct Slice {
  std::int64_t k, depth;
  float beta;  // what the sums are multiplied with first
};

void add_slice_in_tiles(const Plan& plan, const TermPlan& term, const Block& block,
                        const Slice& slice, const Sums& sums) {
  Operand a = part_of(term.a, block.g, block.row, slice.k);
  Operand b = part_of(term.b, block.g, slice.k, block.column);
  if (term.pack_a) a = packed(a, block.row, slice.k, block.rows, slice.depth, false, block.a_panel);
  if (term.pack_b)
    b = packed(b, slice.k, block.column, slice.depth, block.columns, false, block.b_panel);
  TilesProduct product{.M = block.rows,
                       .N = block.columns,
                       .K = slice.depth,
                       .alpha = term.term->alpha,
                       .accumulate = slice.beta != 0,
                       .a = a,
                       .strips = nullptr,
                       .columns = b,
                       .c = sums.data,
                       .c_stride = sums.stride};
  if (plan.transposed) {
    std::swap(product.M, product.N);
    product.a = transposed_operand(b);
    product.columns = transposed_operand(a);
  }
  if (!takes_columns_as_they_lie(product.M, product.columns, product.N)) {
    pack_columns(product.columns, product.K, product.N, block.strips);
    product.strips = block.strips;
  }
  add_tiles(product);
}

void add_slice_of_bf16(const Plan& plan, const TermPlan& term, const Block& block,
                       const Slice& slice, const Sums& sums) {
  BFloat16* strips = block.bf16_strips;
  if (plan.packs_once) {
    strips += term.strips_at + bf16_strips(slice.k, block.columns);
  } else {
    pack_bf16_columns(part_of(term.b, block.g, slice.k, block.column), slice.depth, block.columns,
                      strips);
  }
  add_bf16({.unit = plan.unit,
            .M = block.rows,
            .N = block.columns,
            .K = slice.depth,
            .alpha = term.term->alpha,
            .accumulate = slice.beta != 0,
            .a = part_of(term.a, block.g, block.row, slice.k),
            .strips = strips,
            .c = sums.data,
            .c_stride = sums.stride});
}

// All strips of a block, one slice of a term after the other.
void pack_bf16_strips(const Plan& plan, const Block& block) {
  for (const TermPlan& term : plan.terms) {
    const std::int64_t K = term.way == Way::kBf16 ? term.term->K : 0;
    for (std::int64_t k = 0; k < K; k += term.depth) {
      pack_bf16_columns(part_of(term.b, block.g, k, block.column), std::min(term.depth, K - k),
                        block.columns,
                        block.bf16_strips + term.strips_at + bf16_strips(k, block.columns));
    }
  }
}

void add_slice_of_dots(const TermPlan& plan, const Block& block, const Slice& slice,
                       const Sums& sums) {
  Operand a = part_of(plan.a, block.g, block.row, slice.k);
  Operand b = transposed_operand(part_of(plan.b, block.g, slice.k, block.column));
  if (plan.pack_a) a = packed(a, block.row, slice.k, block.rows, slice.depth, false, block.a_panel);
  if (plan.pack_b)
    b = packed(b, block.column, slice.k, block.columns, slice.depth, false, block.b_panel);
  multiply_dots({.M = block.rows,
                 .N = block.columns,
                 .K = slice.depth,
                 .alpha = plan.term->alpha,
                 .beta = slice.beta,
                 .a = a.data,
                 .a_dtype = a.dtype,
                 .a_stride = a.row_stride,
                 .b = static_cast<const float*>(b.data),
                 .b_stride = b.row_stride,
                 .c = sums.data,
                 .c_stride = sums.stride});
}

void add_slice(const TermPlan& plan, const Block& block, const Slice& slice, const Sums& sums) {
  Operand a = part_of(plan.a, block.g, block.row, slice.k);
  Operand b = part_of(plan.b, block.g, slice.k, block.column);
  const bool keep_columns = plan.way == Way::kLibrary;
  if (plan.pack_a) {
    a = packed(a, block.row, slice.k, block.rows, slice.depth, keep_columns, block.a_panel);
  }
  if (plan.pack_b) {
    b = packed(b, slice.k, block.column, slice.depth, block.columns, keep_columns, block.b_panel);
  }
  const TileProduct product{.M = block.rows,
                            .N = block.columns,
                            .K = slice.depth,
                            .alpha = plan.term->alpha,
                            .beta = slice.beta,
                            .a = static_cast<const float*>(a.data),
                            .a_stride = a.row_stride,
                            .b = b,
                            .c = sums.data,
                            .c_stride = sums.stride};
  if (plan.way == Way::kPlain) {
    multiply_tile(product);
  } else {
    multiply_by_library(product, a);
  }
}

// sums = term + beta · sums.
void add_term(const Plan& plan, const TermPlan& term, const Block& block, float beta,
              const Sums& sums) {
  const std::int64_t K = term.term->K;
  for (std::int64_t k = 0; k < K; k += term.depth) {
    const Slice slice{k, std::min(term.depth, K - k), k == 0 ? beta : 1.0F};
    switch (term.way) {
      case Way::kTiles:
        add_slice_in_tiles(plan, term, block, slice, sums);
        break;
      case Way::kBf16:
        add_slice_of_bf16(plan, term, block, slice, sums);
        break;
      case Way::kDots:
        add_slice_of_dots(term, block, slice, sums);
        break;
      case Way::kLibrary:
      case Way::kPlain:
        add_slice(term, block, slice, sums);
        break;
    }
  }
  if (term.term->map_sum != nullptr) {
    (*term.term->map_sum)(
        {sums.data, sums.stride, block.row, block.column, block.rows, block.columns});
  }
}

Result part_of(const Result& c, std::int64_t g, std::int64_t row, std::int64_t column) {
  const std::int64_t index = g * c.batch_stride + row * c.row_stride + column;
  Result part = c;
  part.data = static_cast<std::byte*>(c.data) + index * static_cast<std::int64_t>(size_of(c.dtype));
  return part;
}

// Scratch of a thread for one block after the other.
struct BlockScratch {
  ScratchArray<float> a_panel, b_panel, strips, tile;
  ScratchArray<BFloat16> bf16_strips;

  BlockScratch(Stream& stream, const Plan& plan)
      : a_panel(stream, plan.a_panel),
        b_panel(stream, plan.b_panel),
        strips(stream, plan.strips),
        tile(stream, plan.tile),
        bf16_strips(stream, plan.bf16_strips) {}
};

// Tiles add to what is there or do not: other factors are applied ahead.
float scale_ahead(const Plan& plan, const Block& block, const Result& c, float beta) {
  const Way way = plan.terms.front().way;
  if ((way != Way::kTiles && way != Way::kBf16) || beta == 0 || beta == 1) return beta;
  scale_result(c, block.rows, block.columns, beta);
  return 1;
}

// Sums that were formed as [columns, rows].
void store_transposed(const Plan& plan, const Block& block, const float* sums, const Result& c,
                      float* rows) {
  if (c.dtype == DType::kF32 && plan.product.beta == 0) {
    return transpose_floats(sums, block.rows, block.columns, block.rows,
                            static_cast<float*>(c.data), c.row_stride);
  }
  for (std::int64_t m = 0; m < block.rows; m += kRowsTurnedBack) {
    const std::int64_t count = std::min(kRowsTurnedBack, block.rows - m);
    transpose_floats(sums + m, block.rows, block.columns, count, rows, block.columns);
    store_tile(rows, count, block.columns, plan.product.beta, part_of(c, 0, m, 0));
  }
}

void run_block(const Plan& plan, const Block& block, const BlockScratch& scratch) {
  const Product& p = plan.product;
  const Result c = part_of(p.c, block.g, block.row, block.column);
  // The stride of a single row may be anything, but the library checks it.
  const std::int64_t c_stride = block.rows == 1 ? block.columns : p.c.row_stride;
  const Sums sums = plan.in_place
                        ? Sums{static_cast<float*>(c.data), c_stride}
                        : Sums{scratch.tile.data(), plan.transposed ? block.rows : block.columns};
  float beta = plan.in_place ? scale_ahead(plan, block, c, p.beta) : 0.0F;
  for (const TermPlan& term : plan.terms) {
    add_term(plan, term, block, beta, sums);
    beta = 1;
  }
  if (plan.in_place) return;
  if (plan.transposed) {
    store_transposed(plan, block, sums.data, c, scratch.strips.data());
  } else if (plan.packs_once && c.dtype == DType::kBF16 && p.beta == 0) {
    round_rows(sums.data, block.rows, block.columns, static_cast<BFloat16*>(c.data), c.row_stride);
  } else {
    store_tile(sums.data, block.rows, block.columns, p.beta, c);
  }
}

// A block, some of its rows at a time.
void run_rows(const Plan& plan, const Block& block, const BlockScratch& scratch) {
  if (plan.packs_once) pack_bf16_strips(plan, block);
  for (std::int64_t row = 0; row < block.rows; row += plan.rows_at_once) {
    Block part = block;
    part.row += row;
    part.rows = std::min(plan.rows_at_once, block.rows - row);
    run_block(plan, part, scratch);
  }
}

// A task owns blocks of c. Consecutive ones share columns of b, which is the larger matrix as a
// rule.
void run_plan(Stream& stream, const Plan& plan) {
  const Product& p = plan.product;
  const Cut cut = plan.cut;
  const std::int64_t blocks_down = divide_up(p.M, cut.rows);
  const std::int64_t blocks_of_one = blocks_down * divide_up(p.N, cut.columns);
  parallel_for(stream, p.G * blocks_of_one, plan.grain, [&](std::int64_t begin, std::int64_t end) {
    const SingleThreadedSgemm guard;
    const BlockScratch scratch(stream, plan);
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t row = i % blocks_of_one % blocks_down * cut.rows;
      const std::int64_t column = i % blocks_of_one / blocks_down * cut.columns;
      run_rows(plan,
               {.g = i / blocks_of_one,
                .row = row,
                .column = column,
                .rows = std::min(cut.rows, p.M - row),
                .columns = std::min(cut.columns, p.N - column),
                .a_panel = scratch.a_panel.data(),
                .b_panel = scratch.b_panel.data(),
                .strips = scratch.strips.data(),
                .bf16_strips = scratch.bf16_strips.data()},
               scratch);
    }
  });
}

}  // namespace

std::span<const std::string_view> gemm_variants() {
  static const std::vector<std::string_view> kNames = [] {
    std::vector<std::string_view> names{"by_shape"};
    if (has_bf16_unit(Bf16Unit::kAmx)) names.emplace_back("amx");
    if (has_bf16_unit(Bf16Unit::kAvx512)) names.emplace_back("avx512_bf16");
    for (const std::string_view name : {std::string_view("tiles"), sgemm_name(),
                                        std::string_view("double"), std::string_view("plain")}) {
      names.push_back(name);
    }
    return names;
  }();
  return kNames;
}

GemmVariant gemm_variant() {
  const std::string forced = forced_variant("matmul");
  if (forced == "tiles") return GemmVariant::kTiles;
  if (forced == "amx") return GemmVariant::kAmx;
  if (forced == "avx512_bf16") return GemmVariant::kAvx512Bf16;
  if (forced == sgemm_name()) return GemmVariant::kLibrary;
  if (forced == "double") return GemmVariant::kDouble;
  return forced == "plain" ? GemmVariant::kPlain : GemmVariant::kByShape;
}

void gemm(Stream& stream, const Product& product, GemmVariant variant) {
  const Product& p = product;
  if (p.G == 0 || p.M == 0 || p.N == 0) return;
  if (variant == GemmVariant::kDouble ||
      (variant == GemmVariant::kByShape && is_small_for_double(p))) {
    return multiply_in_double(stream, p);
  }
  const Plan plan = plan_product(p, variant, thread_pool(stream)->num_threads());
  if (!plan.terms.empty()) return run_plan(stream, plan);
  parallel_for(stream, p.G * p.M, row_grain(p.N), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      scale_result(part_of(p.c, i / p.M, i % p.M, 0), 1, p.N, p.beta);
    }
  });
}

}  // namespace wick::cpu
