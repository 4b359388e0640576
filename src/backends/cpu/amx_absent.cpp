#include "backends/cpu/amx.hpp"
#include "base/check.hpp"

// Where there is no AMX, or no compiler or system for it.

namespace wick::cpu {

bool has_amx() { return false; }

std::int64_t amx_strips(std::int64_t, std::int64_t) { return 0; }

void pack_amx_columns(const Operand&, std::int64_t, std::int64_t, BFloat16*) {
  detail::throw_internal("there is no AMX");
}

void add_amx(const AmxProduct&) { detail::throw_internal("there is no AMX"); }

void split_rows(const float*, std::int64_t, std::int64_t, float, std::span<const Bf16Part>,
                BFloat16*) {
  detail::throw_internal("there is no AMX");
}

void round_rows(const float*, std::int64_t, std::int64_t, BFloat16*, std::int64_t) {
  detail::throw_internal("there is no AMX");
}

}  // namespace wick::cpu
