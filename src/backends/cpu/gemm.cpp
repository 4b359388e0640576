#include "backends/cpu/gemm.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/gemm_plain.hpp"
#include "backends/cpu/scratch.hpp"
#include "backends/cpu/sgemm.hpp"
#include "wick/runtime/settings.hpp"

namespace wick::cpu {

namespace {

// Up to so many rows of a, a product with a half-precision b is bound by reading b, and each
// element of a converted copy of b would be used less often than it costs.
constexpr std::int64_t kFewRows = 4;
// Below this the tails of our own dot products cost more than converting b.
constexpr std::int64_t kFewRowsLeastDepth = 64;
// How far along K panels reach: four f32 rows of kFewRowsDepth fit a first-level cache, panels of
// kPanelDepth together with a block of c a second-level one.
constexpr std::int64_t kFewRowsDepth = 2048;
constexpr std::int64_t kPanelDepth = 256;
constexpr std::int64_t kLargestDepth = std::int64_t{1} << 30;  // sgemm() takes as much

// Largest blocks of c. The library packs what it multiplies, so that larger blocks repeat less of that.
constexpr std::int64_t kBlockRows = 512;
constexpr std::int64_t kBlockRowsWithPanels = 256;
constexpr std::int64_t kBlockColumns = 384;
// A product has at least so many blocks, unless they would become too cheap to be worth a thread:
// about 30 µs, counted in operations.
constexpr std::int64_t kEnoughBlocks = 6;
constexpr std::int64_t kLeastCost = 4'000'000;
// What fetching an element of a or b costs, in operations.
constexpr std::int64_t kCostOfElement = 16;

constexpr std::int64_t divide_up(std::int64_t n, std::int64_t d) { return (n + d - 1) / d; }
constexpr std::int64_t round_up(std::int64_t n, std::int64_t step) {
  return divide_up(n, step) * step;
}

// ---- Operands -----------------------------------------------------------------------------------

Operand part_of(const Operand& x, std::int64_t g, std::int64_t row, std::int64_t column) {
  const std::int64_t index = g * x.batch_stride + row * x.row_stride + column * x.column_stride;
  Operand part = x;
  part.data =
      static_cast<const std::byte*>(x.data) + index * static_cast<std::int64_t>(size_of(x.dtype));
  return part;
}

// The strides along an axis of one element mean nothing; here they are chosen so that one of them
// is 1 and the other reaches past the extent where that is possible.
Operand with_plain_strides(Operand x, std::int64_t rows, std::int64_t columns) {
  if (columns == 1 && x.row_stride != 1) x.column_stride = 1;
  if (rows == 1 && x.column_stride == 1) x.row_stride = columns;
  if (rows == 1 && x.column_stride != 1) x.row_stride = 1;
  if (columns == 1 && x.column_stride != 1) x.column_stride = rows;
  return x;
}

bool rows_contiguous(const Operand& x, std::int64_t columns) {
  return x.column_stride == 1 && x.row_stride >= columns;
}
bool columns_contiguous(const Operand& x, std::int64_t rows) {
  return x.row_stride == 1 && x.column_stride >= rows;
}

// True where sgemm() can take the matrix from where it lies.
bool lies_ready(const Operand& x, std::int64_t rows, std::int64_t columns) {
  if (x.dtype != DType::kF32 || x.map != nullptr) return false;
  return (rows_contiguous(x, columns) && x.row_stride <= kSgemmLargest) ||
         (columns_contiguous(x, rows) && x.column_stride <= kSgemmLargest);
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

// ---- How a product is computed ------------------------------------------------------------------

// What is the same for all blocks of a term.
struct TermPlan {
  const Term* term;
  Operand a, b;         // with_plain_strides()
  bool pack_a, pack_b;  // converted into panels ahead of the product
  bool own_loops;       // multiply_tile(), not sgemm()
  std::int64_t depth;   // along K in one go
};

TermPlan plan_term(const Product& p, const Term& term, GemmVariant variant) {
  const std::int64_t K = term.K;
  TermPlan plan{.term = &term,
                .a = with_plain_strides(term.a, p.M, K),
                .b = with_plain_strides(term.b, K, p.N),
                .pack_a = true,
                .pack_b = true,
                .own_loops = variant == GemmVariant::kPlain,
                .depth = std::min(K, kPanelDepth)};
  const Operand& b = plan.b;
  const bool b_lies_ready = variant == GemmVariant::kLibrary && lies_ready(b, K, p.N);
  if (p.M <= kFewRows && !b_lies_ready && b.map == nullptr &&
      (rows_contiguous(b, p.N) || (columns_contiguous(b, K) && K >= kFewRowsLeastDepth))) {
    plan.pack_b = false;
    plan.own_loops = true;
    plan.depth = std::min(K, kFewRowsDepth);
  } else if (variant == GemmVariant::kLibrary) {
    plan.pack_a = !lies_ready(plan.a, p.M, K);
    plan.pack_b = !b_lies_ready;
    if (!plan.pack_a && !plan.pack_b) plan.depth = std::min(K, kLargestDepth);
  }
  return plan;
}

// Blocks grow in these steps, which fill the registers of oneDNN's kernels: 48 columns at a time
// with the widest vectors. Narrow blocks would differ too much in size in steps of 48.
constexpr std::int64_t kStep = 16;
constexpr std::int64_t column_step(std::int64_t columns) { return columns > 192 ? 48 : kStep; }

// Blocks of c. A function of the sizes alone.
struct Cut {
  std::int64_t rows, columns;
};

std::int64_t cost_of_block(const Cut& cut, std::int64_t K) {
  return (2 * cut.rows * cut.columns + kCostOfElement * (cut.rows + cut.columns)) * K;
}

Cut cut_product(std::int64_t G, std::int64_t M, std::int64_t N, std::int64_t K,
                std::int64_t most_rows) {
  Cut cut{std::min(M, most_rows), std::min(N, kBlockColumns)};
  while (G * divide_up(M, cut.rows) * divide_up(N, cut.columns) < kEnoughBlocks &&
         cost_of_block(cut, K) >= 2 * kLeastCost && (cut.rows > kStep || cut.columns > kStep)) {
    // Fewer columns cost less speed than fewer rows.
    if (cut.columns <= kStep || cut.rows > 2 * cut.columns) {
      cut.rows = round_up(divide_up(cut.rows, 2), kStep);
    } else {
      cut.columns = round_up(divide_up(cut.columns, 2), column_step(cut.columns));
    }
  }
  // As many blocks as these, of nearly equal sizes.
  const std::int64_t rows = divide_up(M, divide_up(M, cut.rows));
  const std::int64_t columns = divide_up(N, divide_up(N, cut.columns));
  return {std::min(M, round_up(rows, kStep)), std::min(N, round_up(columns, column_step(columns)))};
}

struct Plan {
  const Product& product;
  std::vector<TermPlan> terms;
  Cut cut{};
  bool in_place = false;                            // c is f32 and takes the sums itself
  std::int64_t a_panel = 0, b_panel = 0, tile = 0;  // scratch of a thread, in elements
};

Plan plan_product(const Product& p, GemmVariant variant) {
  Plan plan{.product = p, .terms = {}};
  std::int64_t K = 0;
  bool any_panels = false;
  for (const Term& term : p.terms) {
    if (term.alpha == 0 || term.K == 0) continue;
    plan.terms.push_back(plan_term(p, term, variant));
    const bool packs = plan.terms.back().pack_a || plan.terms.back().pack_b;
    any_panels = any_panels || (packs && term.K > 1);  // a single column takes no space
    K += term.K;
  }
  plan.in_place = p.c.dtype == DType::kF32 && (p.M == 1 || p.c.row_stride <= kSgemmLargest);
  any_panels = any_panels || !plan.in_place;
  plan.cut = cut_product(p.G, p.M, p.N, K, any_panels ? kBlockRowsWithPanels : kBlockRows);
  for (const TermPlan& term : plan.terms) {
    if (term.pack_a) plan.a_panel = std::max(plan.a_panel, plan.cut.rows * term.depth);
    if (term.pack_b) plan.b_panel = std::max(plan.b_panel, plan.cut.columns * term.depth);
  }
  if (!plan.in_place) plan.tile = plan.cut.rows * plan.cut.columns;
  return plan;
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
};

// sums [rows, columns], `stride` apart, = term + beta · sums.
void add_term(const TermPlan& plan, const Block& block, float beta, float* sums,
              std::int64_t stride) {
  const Term& term = *plan.term;
  for (std::int64_t k = 0; k < term.K; k += plan.depth) {
    const std::int64_t depth = std::min(plan.depth, term.K - k);
    Operand a = part_of(plan.a, block.g, block.row, k);
    Operand b = part_of(plan.b, block.g, k, block.column);
    const bool keep_columns = !plan.own_loops;
    if (plan.pack_a) {
      a = packed(a, block.row, k, block.rows, depth, keep_columns, block.a_panel);
    }
    if (plan.pack_b) {
      b = packed(b, k, block.column, depth, block.columns, keep_columns, block.b_panel);
    }
    const TileProduct product{.M = block.rows,
                              .N = block.columns,
                              .K = depth,
                              .alpha = term.alpha,
                              .beta = k == 0 ? beta : 1.0F,
                              .a = static_cast<const float*>(a.data),
                              .a_stride = a.row_stride,
                              .b = b,
                              .c = sums,
                              .c_stride = stride};
    if (plan.own_loops) {
      multiply_tile(product);
    } else {
      multiply_by_library(product, a);
    }
  }
  if (term.map_sum != nullptr) {
    (*term.map_sum)({sums, stride, block.row, block.column, block.rows, block.columns});
  }
}

Result part_of(const Result& c, std::int64_t g, std::int64_t row, std::int64_t column) {
  const std::int64_t index = g * c.batch_stride + row * c.row_stride + column;
  Result part = c;
  part.data = static_cast<std::byte*>(c.data) + index * static_cast<std::int64_t>(size_of(c.dtype));
  return part;
}

void run_block(const Plan& plan, const Block& block, float* tile) {
  const Product& p = plan.product;
  const Result c = part_of(p.c, block.g, block.row, block.column);
  float* const sums = plan.in_place ? static_cast<float*>(c.data) : tile;
  // The stride of a single row may be anything, but the library checks it.
  const bool dense = !plan.in_place || block.rows == 1;
  const std::int64_t stride = dense ? block.columns : p.c.row_stride;
  float beta = plan.in_place ? p.beta : 0.0F;
  for (const TermPlan& term : plan.terms) {
    add_term(term, block, beta, sums, stride);
    beta = 1;
  }
  if (!plan.in_place) store_tile(tile, block.rows, block.columns, p.beta, c);
}

// A task owns blocks of c. Consecutive ones share columns of b, which is the larger matrix as a
// rule.
void run_plan(Stream& stream, const Plan& plan) {
  const Product& p = plan.product;
  const Cut cut = plan.cut;
  const std::int64_t blocks_down = divide_up(p.M, cut.rows);
  const std::int64_t blocks_of_one = blocks_down * divide_up(p.N, cut.columns);
  std::int64_t cost = 1;
  for (const TermPlan& term : plan.terms) cost += cost_of_block(cut, term.term->K);
  const std::int64_t grain = 1 + kLeastCost / cost;
  parallel_for(stream, p.G * blocks_of_one, grain, [&](std::int64_t begin, std::int64_t end) {
    const SingleThreadedSgemm guard;
    const ScratchArray<float> a_panel(stream, plan.a_panel);
    const ScratchArray<float> b_panel(stream, plan.b_panel);
    const ScratchArray<float> tile(stream, plan.tile);
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t row = i % blocks_of_one % blocks_down * cut.rows;
      const std::int64_t column = i % blocks_of_one / blocks_down * cut.columns;
      run_block(plan,
                {.g = i / blocks_of_one,
                 .row = row,
                 .column = column,
                 .rows = std::min(cut.rows, p.M - row),
                 .columns = std::min(cut.columns, p.N - column),
                 .a_panel = a_panel.data(),
                 .b_panel = b_panel.data()},
                tile.data());
    }
  });
}

}  // namespace

GemmVariant gemm_variant() {
  return forced_variant("matmul") == "plain" ? GemmVariant::kPlain : GemmVariant::kLibrary;
}

void gemm(Stream& stream, const Product& product, GemmVariant variant) {
  const Product& p = product;
  if (p.G == 0 || p.M == 0 || p.N == 0) return;
  const Plan plan = plan_product(p, variant);
  if (!plan.terms.empty()) return run_plan(stream, plan);
  parallel_for(stream, p.G * p.M, row_grain(p.N), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      scale_result(part_of(p.c, i / p.M, i % p.M, 0), 1, p.N, p.beta);
    }
  });
}

}  // namespace wick::cpu
