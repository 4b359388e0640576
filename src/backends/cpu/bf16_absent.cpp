#include "backends/cpu/bf16_products.hpp"
#include "base/check.hpp"

// Where nothing multiplies bf16, or no compiler or system is known to give it.

namespace wick::cpu {

namespace {

[[noreturn]] void refuse() { detail::throw_internal("nothing multiplies bf16 here"); }

}  // namespace

Bf16Unit bf16_unit(GemmVariant) { return Bf16Unit::kNone; }

bool has_bf16_unit(Bf16Unit) { return false; }

std::int64_t bf16_strips(std::int64_t, std::int64_t) { return 0; }

void pack_bf16_columns(const Operand&, std::int64_t, std::int64_t, BFloat16*) { refuse(); }

void add_bf16(const Bf16Product&) { refuse(); }

void split_rows(const float*, std::int64_t, std::int64_t, float, std::span<const Bf16Part>,
                BFloat16*) {
  refuse();
}

void round_rows(const float*, std::int64_t, std::int64_t, BFloat16*, std::int64_t) { refuse(); }

}  // namespace wick::cpu
