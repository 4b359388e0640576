#pragma once

#include <cstdint>
#include <string>

namespace wick::bench {

/// What this machine does at best, by loops that do nothing else. Each runs on `threads` threads at once for about
/// `milliseconds` and answers the rate of all of them.

/// FLOP a second of "f32" multiply-adds or "bf16" products that accumulate in f32; 0 where there is no loop for it.
double peak_flops(const std::string& dtype, int threads, double milliseconds);

/// Which instructions peak_flops() runs: "avx512", "avx2", "amx", "avx512_bf16", "vectors of 16 bytes", or "none".
std::string peak_instructions(const std::string& dtype);

/// Bytes a second that "read", "copy" or "copy_nt" (past the caches) moves over `bytes` in all, as the program names them.
double bandwidth(const std::string& kind, std::int64_t bytes, int threads, double milliseconds);

}  // namespace wick::bench
