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

}  // namespace wick::cpu
