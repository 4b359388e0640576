#include "backends/cpu/gemm_plan.hpp"

#include "backends/cpu/gemm_tiles.hpp"
#include "backends/cpu/sgemm.hpp"

namespace wick::cpu {

namespace {

// Up to so many rows of a, a product is bound by reading b: our own loops read it once, as it lies.
constexpr std::int64_t kFewRows = 4;
// Below this the tails of dot products cost more than what they save.
constexpr std::int64_t kLeastDotDepth = 64;
// Dot products read both factors as they lie; with more columns the sums across vectors and the repeated reading of a cost
// more than packing does.
constexpr std::int64_t kFewColumns = 16;
// Below this, what a library packs costs more than its kernels save.
constexpr std::int64_t kLeastLibraryDepth = 128;
// With so many rows, a library's kernels make up for packing b on each call.
constexpr std::int64_t kLibraryRows = 192;
constexpr std::int64_t kLibraryRowsToTurn = 256;
// How far along K panels reach: four f32 rows of kLongDepth fit a first-level cache, panels of kPanelDepth together with a
// block of c a second-level one.
constexpr std::int64_t kLongDepth = 2048;
constexpr std::int64_t kPanelDepth = 256;

// Below these strips of bf16 would be zeros for the most part.
constexpr std::int64_t kLeastBf16Depth = 16;
constexpr std::int64_t kLeastBf16Columns = 8;

constexpr std::int64_t kLargestDepth = std::int64_t{1} << 30;  // sgemm() takes as much

// Largest blocks of c. The library packs what it multiplies, so that larger blocks repeat less of that.
constexpr std::int64_t kBlockRows = 512;
constexpr std::int64_t kBlockRowsWithPanels = 256;
constexpr std::int64_t kBlockColumns = 384;
// Largest blocks of our tiles: along the rows that are broadcast, and along the strips of columns, which together with
// the sums stay in a second-level cache.
constexpr std::int64_t kTileBlockRows = 512;
constexpr std::int64_t kTileBlockColumns = 256;
// Up to this depth a product is bound by storing c: blocks of whole rows, whose strips are small.
constexpr std::int64_t kShallowDepth = 32;
// Largest blocks of bf16: what is packed is the columns, so that they are cut first.
constexpr std::int64_t kBf16BlockRows = 1024;
constexpr std::int64_t kBf16Step = 32;
constexpr std::int64_t kBf16RowsAtOnce = 128;
constexpr std::int64_t kMostBf16Strips = 512 * 1024;
// Rows of a block of dot products.
constexpr std::int64_t kDotBlockRows = 512;
// A product has at least so many blocks, unless they would become too cheap to be worth a thread:
// about 30 µs, counted in operations.
constexpr std::int64_t kEnoughBlocks = 6;
constexpr std::int64_t kLeastCost = 4'000'000;
// The same for our own tiles and dot products, which leave more of the time to arithmetic: about 5 µs.
constexpr std::int64_t kLeastTileCost = 1'000'000;
// Blocks of our tiles are halved above this, so that a thread that was held up leaves some to others: about 1 ms.
constexpr std::int64_t kGreatCost = 200'000'000;
// What fetching an element of a or b costs, in operations, and storing one of c.
constexpr std::int64_t kCostOfElement = 16;
constexpr std::int64_t kCostOfResult = 16;
// The same for units of bf16: what is worth a thread, about 5 µs, and what packing an element costs; and the most columns
// of a block.
struct Bf16Costs {
  std::int64_t least, element, columns;
};
constexpr Bf16Costs kAmxCosts{12'000'000, 96, 128};
constexpr Bf16Costs kAvx512Costs{2'000'000, 32, 256};
constexpr const Bf16Costs& costs_of(Bf16Unit unit) {
  return unit == Bf16Unit::kAmx ? kAmxCosts : kAvx512Costs;
}

constexpr std::int64_t divide_up(std::int64_t n, std::int64_t d) { return (n + d - 1) / d; }
constexpr std::int64_t round_up(std::int64_t n, std::int64_t step) {
  return divide_up(n, step) * step;
}

// True where the matrix can be read from where it lies.
bool lies_ready(const Operand& x, std::int64_t rows, std::int64_t columns) {
  if (x.dtype != DType::kF32 || x.map != nullptr) return false;
  return (rows_contiguous(x, columns) && x.row_stride <= kSgemmLargest) ||
         (columns_contiguous(x, rows) && x.column_stride <= kSgemmLargest);
}

// ---- Terms --------------------------------------------------------------------------------------

bool takes_few_rows(const Product& p, const TermPlan& plan, std::int64_t K) {
  return p.M <= kFewRows && plan.b.map == nullptr &&
         (rows_contiguous(plan.b, p.N) || (columns_contiguous(plan.b, K) && K >= kLeastDotDepth));
}

// Few columns of any layout, which are transposed where they must be, or few rows times what lies in columns.
bool takes_dots(const Product& p, const TermPlan& plan, std::int64_t K) {
  if (K < kLeastDotDepth || !rows_contiguous(plan.a, K)) return false;
  return p.N <= kFewColumns || (p.M <= kFewColumns && columns_contiguous(plan.b, K));
}

// Whether sgemm() is the faster one for a large product of matrices that lie ready. It packs both of them on each call, so that
// it needs more rows where the columns of b, as those of a weight [N,K], must be transposed for that; on some processors our
// tiles are ahead of it there with any number of them.
bool prefers_library(const Product& p, const TermPlan& plan, std::int64_t K) {
  if (!lies_ready(plan.a, p.M, K) || !lies_ready(plan.b, K, p.N)) return false;
  if (p.M < kFewColumns || p.N < kFewColumns || K < kLeastLibraryDepth) return false;
  if (sgemm_has_matrix_units()) return true;
  if (plan.b.column_stride == 1) return p.M >= kLibraryRows;
  return sgemm_turns_ahead_of_tiles() && p.M >= kLibraryRowsToTurn;
}

// Whether a unit for bf16 can multiply the term, and is to: up to kFewRows rows have been taken care of.
bool takes_bf16(const Product& p, const TermPlan& plan, std::int64_t K, GemmVariant variant,
                Bf16Unit unit) {
  const auto lies_ready = [](const Operand& x, std::int64_t rows, std::int64_t columns) {
    return x.dtype == DType::kBF16 && x.map == nullptr &&
           (rows_contiguous(x, columns) || columns_contiguous(x, rows));
  };
  if (unit == Bf16Unit::kNone) return false;
  if (!lies_ready(plan.a, p.M, K) || !lies_ready(plan.b, K, p.N)) return false;
  return variant != GemmVariant::kByShape || (K >= kLeastBf16Depth && p.N >= kLeastBf16Columns);
}

void plan_library(const Product& p, std::int64_t K, TermPlan& plan) {
  const bool b_lies_ready = lies_ready(plan.b, K, p.N);
  plan.way = Way::kLibrary;
  plan.pack_a = !lies_ready(plan.a, p.M, K);
  plan.pack_b = !b_lies_ready;
  plan.depth = plan.pack_a || plan.pack_b ? std::min(K, kPanelDepth) : std::min(K, kLargestDepth);
}

TermPlan plan_term(const Product& p, const Term& term, GemmVariant variant, Bf16Unit unit) {
  const std::int64_t K = term.K;
  TermPlan plan{.term = &term,
                .a = with_plain_strides(term.a, p.M, K),
                .b = with_plain_strides(term.b, K, p.N),
                .depth = std::min(K, kPanelDepth)};
  const bool library_ready = variant == GemmVariant::kLibrary && lies_ready(plan.b, K, p.N);
  if (takes_few_rows(p, plan, K) && !library_ready) {
    plan.way = Way::kPlain;
    plan.pack_b = false;
    plan.depth = std::min(K, kLongDepth);
  } else if (takes_bf16(p, plan, K, variant, unit)) {
    plan.way = Way::kBf16;
    plan.pack_a = plan.pack_b = false;
    plan.depth = std::min(K, kBf16Depth);
  } else if (variant == GemmVariant::kLibrary ||
             (variant == GemmVariant::kByShape && prefers_library(p, plan, K))) {
    plan_library(p, K, plan);
  } else if (variant == GemmVariant::kPlain) {
    plan.way = Way::kPlain;
  } else if (takes_dots(p, plan, K)) {
    plan.way = Way::kDots;
    plan.pack_a = plan.a.map != nullptr;  // else converted as it is read
    plan.pack_b = !columns_contiguous(plan.b, K) || !lies_ready(plan.b, K, p.N);
    plan.depth = std::min(K, plan.pack_a || plan.pack_b ? kPanelDepth : kLongDepth);
  } else {  // tiles convert while they pack
    plan.pack_a = plan.a.map != nullptr;
    plan.pack_b = plan.b.map != nullptr;
    plan.depth = std::min(K, kTileDepth);
  }
  return plan;
}

// ---- Blocks -------------------------------------------------------------------------------------

// Blocks grow in these steps, which fill the registers of a library's kernels: 48 columns at a time
// with the widest vectors. Narrow blocks would differ too much in size in steps of 48.
constexpr std::int64_t kStep = 16;
constexpr std::int64_t column_step(std::int64_t columns) { return columns > 192 ? 48 : kStep; }

std::int64_t cost_of_block(const Cut& cut, std::int64_t K,
                           std::int64_t cost_of_element = kCostOfElement) {
  return (2 * cut.rows * cut.columns + cost_of_element * (cut.rows + cut.columns)) * K +
         kCostOfResult * cut.rows * cut.columns;
}

// A function of the sizes alone.
Cut cut_product(const Product& p, std::int64_t K, std::int64_t most_rows) {
  Cut cut{std::min(p.M, most_rows), std::min(p.N, kBlockColumns)};
  while (p.G * divide_up(p.M, cut.rows) * divide_up(p.N, cut.columns) < kEnoughBlocks &&
         cost_of_block(cut, K) >= 2 * kLeastCost && (cut.rows > kStep || cut.columns > kStep)) {
    // Fewer columns cost less speed than fewer rows.
    if (cut.columns <= kStep || cut.rows > 2 * cut.columns) {
      cut.rows = round_up(divide_up(cut.rows, 2), kStep);
    } else {
      cut.columns = round_up(divide_up(cut.columns, 2), column_step(cut.columns));
    }
  }
  // As many blocks as these, of nearly equal sizes.
  const std::int64_t rows = divide_up(p.M, divide_up(p.M, cut.rows));
  const std::int64_t columns = divide_up(p.N, divide_up(p.N, cut.columns));
  return {std::min(p.M, round_up(rows, kStep)),
          std::min(p.N, round_up(columns, column_step(columns)))};
}

// Blocks of our tiles: `rows` are broadcast, `columns` make strips. As few as keep the threads busy, since each packs what
// it reads.
Cut cut_tiles(std::int64_t G, std::int64_t rows, std::int64_t columns, std::int64_t K,
              std::int64_t threads) {
  const bool is_shallow = K <= kShallowDepth;
  std::int64_t down = divide_up(rows, kTileBlockRows);
  std::int64_t across =
      divide_up(columns, kTileBlockColumns * (is_shallow ? kTileDepth / kShallowDepth : 1));
  const auto cut = [&] {
    return Cut{divide_up(rows, down), round_up(divide_up(columns, across), kStep)};
  };
  const auto too_few = [&] {
    const std::int64_t blocks = G * down * across;
    const std::int64_t cost = cost_of_block(cut(), K);
    return (blocks < threads && cost >= 2 * kLeastTileCost) ||
           (blocks < 4 * threads && cost >= 2 * kLeastTileCost &&
            (blocks % threads != 0 || cost >= kGreatCost));
  };
  while (threads > 1 && too_few() && (cut().rows > kStep || cut().columns > 2 * kStep)) {
    const bool rows_suffice = is_shallow && cut().rows > 2 * kStep;
    if (rows_suffice || cut().rows >= cut().columns || cut().columns <= 2 * kStep) {
      ++down;
    } else {
      ++across;
    }
  }
  return {std::min(rows, cut().rows), std::min(columns, cut().columns)};
}

// Each strip of columns is packed by as few blocks as can be.
Cut cut_bf16(const Product& p, std::int64_t K, std::int64_t threads, const Bf16Costs& costs) {
  std::int64_t down = divide_up(p.M, kBf16BlockRows);
  std::int64_t across = divide_up(p.N, costs.columns);
  const auto cut = [&] {
    return Cut{round_up(divide_up(p.M, down), kBf16Step),
               round_up(divide_up(p.N, across), kBf16Step)};
  };
  const auto too_few = [&] {
    const std::int64_t blocks = p.G * down * across;
    return blocks < 4 * threads && blocks % threads != 0 &&
           cost_of_block(cut(), K, costs.element) >= 2 * costs.least;
  };
  while (too_few() && (cut().rows > kBf16Step || cut().columns > kBf16Step)) {
    if (cut().columns > 2 * kBf16Step || cut().rows == kBf16Step) {
      ++across;
    } else {
      ++down;
    }
  }
  return {std::min(p.M, cut().rows), std::min(p.N, cut().columns)};
}

Cut cut_dots(const Product& p, std::int64_t K, std::int64_t threads) {
  Cut cut{p.M, p.N};
  std::int64_t& longer = p.M >= p.N ? cut.rows : cut.columns;
  std::int64_t parts = divide_up(longer, kDotBlockRows);
  const std::int64_t most_parts = 1 + cost_of_block(cut, K) / kLeastTileCost;
  parts = std::max(parts, std::min(round_up(parts, threads), most_parts));
  longer = round_up(divide_up(longer, parts), kStep);
  return {std::min(p.M, cut.rows), std::min(p.N, cut.columns)};
}

bool any_term(const Plan& plan, Way way) {
  return std::ranges::any_of(plan.terms, [&](const TermPlan& term) { return term.way == way; });
}

// Whether the rows of a, not the columns of b, are to make strips: those are packed, and transposing them costs more than
// copying rows does.
bool strips_of_rows(const Plan& plan) {
  const Product& p = plan.product;
  for (const TermPlan& term : plan.terms) {
    if (term.term->map_sum != nullptr || term.way != Way::kTiles) return false;
  }
  const TermPlan& main =
      *std::ranges::max_element(plan.terms, {}, [](const TermPlan& term) { return term.term->K; });
  const bool rows_lie_ready = main.a.column_stride != 1;
  if (main.b.column_stride == 1) return rows_lie_ready && p.M > p.N;
  if (rows_lie_ready) return true;
  // Each block of sums turns what it packs.
  const std::int64_t K = main.term->K;
  const std::int64_t rows_and_sums = p.M * K * divide_up(p.N, kTileBlockRows) + p.M * p.N;
  return rows_and_sums < K * p.N * divide_up(p.M, kTileBlockRows);
}

void cut_blocks(Plan& plan, std::int64_t K, std::int64_t threads) {
  const Product& p = plan.product;
  if (any_term(plan, Way::kBf16)) {
    plan.cut = cut_bf16(p, K, threads, costs_of(plan.unit));
    return;
  }
  if (any_term(plan, Way::kTiles) && !any_term(plan, Way::kLibrary)) {
    plan.transposed = strips_of_rows(plan);
    if (plan.transposed) {
      const Cut cut = cut_tiles(p.G, p.N, p.M, K, threads);
      plan.cut = {.rows = cut.columns, .columns = cut.rows};
    } else {
      plan.cut = cut_tiles(p.G, p.M, p.N, K, threads);
    }
    return;
  }
  if (any_term(plan, Way::kDots)) {
    plan.cut = cut_dots(p, K, threads);
    return;
  }
  bool any_panels = p.c.dtype != DType::kF32;
  for (const TermPlan& term : plan.terms) {  // a single column takes no space
    any_panels = any_panels || ((term.pack_a || term.pack_b) && term.term->K > 1);
  }
  plan.cut = cut_product(p, K, any_panels ? kBlockRowsWithPanels : kBlockRows);
}

// What is worth a thread.
std::int64_t least_cost(const Plan& plan) {
  if (any_term(plan, Way::kBf16)) return costs_of(plan.unit).least;
  return any_term(plan, Way::kTiles) || any_term(plan, Way::kDots) ? kLeastTileCost : kLeastCost;
}

// Where the strips of all columns of a block fit a second-level cache, its rows pass by a few at a time, so that their
// sums take little of it.
void lay_out_bf16_strips(Plan& plan) {
  plan.rows_at_once = plan.cut.rows;
  std::int64_t all = 0;
  for (TermPlan& term : plan.terms) {
    if (term.way != Way::kBf16) continue;
    term.strips_at = all;
    all += bf16_strips(term.term->K, plan.cut.columns);
    plan.bf16_strips = std::max(plan.bf16_strips, bf16_strips(term.depth, plan.cut.columns));
  }
  plan.packs_once = all > 0 && all <= kMostBf16Strips;
  if (!plan.packs_once) return;
  plan.bf16_strips = all;
  plan.rows_at_once = std::min(plan.cut.rows, kBf16RowsAtOnce);
}

void count_scratch(Plan& plan) {
  for (const TermPlan& term : plan.terms) {
    if (term.pack_a) plan.a_panel = std::max(plan.a_panel, plan.cut.rows * term.depth);
    if (term.pack_b) plan.b_panel = std::max(plan.b_panel, plan.cut.columns * term.depth);
    if (term.way == Way::kTiles) {
      const std::int64_t width = plan.transposed ? plan.cut.rows : plan.cut.columns;
      plan.strips = std::max(plan.strips, packed_columns(width) * term.depth);
    }
  }
  if (!plan.in_place) plan.tile = plan.rows_at_once * plan.cut.columns;
  // Strips are done with when sums are turned back, some rows at a time.
  if (plan.transposed) plan.strips = std::max(plan.strips, kRowsTurnedBack * plan.cut.columns);
}

}  // namespace

Operand with_plain_strides(Operand x, std::int64_t rows, std::int64_t columns) {
  if (columns == 1 && x.row_stride != 1) x.column_stride = 1;
  if (rows == 1 && x.column_stride == 1) x.row_stride = columns;
  if (rows == 1 && x.column_stride != 1) x.row_stride = 1;
  if (columns == 1 && x.column_stride != 1) x.column_stride = rows;
  return x;
}

Plan plan_product(const Product& p, GemmVariant variant, std::int64_t threads) {
  Plan plan{.product = p, .unit = bf16_unit(variant), .terms = {}};
  std::int64_t K = 0;
  for (const Term& term : p.terms) {
    if (term.alpha == 0 || term.K == 0) continue;
    plan.terms.push_back(plan_term(p, term, variant, plan.unit));
    K += term.K;
  }
  if (plan.terms.empty()) return plan;
  cut_blocks(plan, K, threads);
  plan.in_place =
      p.c.dtype == DType::kF32 && !plan.transposed && (p.M == 1 || p.c.row_stride <= kSgemmLargest);
  const std::int64_t of_element =
      any_term(plan, Way::kBf16) ? costs_of(plan.unit).element : kCostOfElement;
  plan.grain = 1 + least_cost(plan) / (1 + cost_of_block(plan.cut, K, of_element));
  lay_out_bf16_strips(plan);
  count_scratch(plan);
  return plan;
}

}  // namespace wick::cpu
