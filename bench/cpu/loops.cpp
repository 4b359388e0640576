// Loops at the limit of the machine: in assembler on x86, where a compiler would have to be told the instruction set, and
// in plain C++ elsewhere.

#include "loops.hpp"

#include <cstring>

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#endif

namespace wick::bench {

#if defined(__x86_64__) && defined(__linux__)

namespace {

struct Leaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf cpuid(unsigned leaf, unsigned part) {
  Leaf r;
  __get_cpuid_count(leaf, part, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

bool has(unsigned word, int bit) { return ((word >> bit) & 1U) != 0; }

// The compiler's test asks the operating system too.
bool has_avx512() { return __builtin_cpu_supports("avx512f") != 0; }
bool has_avx2() {
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
}
bool has_avx512_bf16() { return has_avx512() && has(cpuid(7, 1).eax, 5); }

// Linux hands the tiles to a process that asks.
bool has_amx() {
  constexpr long kRequestPermission = 0x1023;
  constexpr long kTileData = 18;
  const Leaf leaf = cpuid(7, 0);
  return has(leaf.edx, 22) && has(leaf.edx, 24) &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

#define WICK_CLOBBERS                                                                             \
  "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
      "xmm10", "xmm11", "xmm12", "xmm13"
#define WICK_CHAIN(op, reg, n) op " %%" reg "12, %%" reg "13, %%" reg #n "\n\t"
#define WICK_CLEAR(n) "vxorps %%xmm" #n ", %%xmm" #n ", %%xmm" #n "\n\t"
// Twelve chains hide the latency of one.
#define WICK_CHAINS(op, reg)                                                                      \
  "1:\n\t" WICK_CHAIN(op, reg, 0) WICK_CHAIN(op, reg, 1) WICK_CHAIN(op, reg, 2)                   \
      WICK_CHAIN(op, reg, 3) WICK_CHAIN(op, reg, 4) WICK_CHAIN(op, reg, 5) WICK_CHAIN(op, reg, 6) \
          WICK_CHAIN(op, reg, 7) WICK_CHAIN(op, reg, 8) WICK_CHAIN(op, reg, 9)                    \
              WICK_CHAIN(op, reg, 10) WICK_CHAIN(op, reg, 11) "dec %0\n\tjnz 1b\n\tvzeroupper"
// clang-format off: it does not settle on one form of this list
#define WICK_CLEAR_ALL                                                          \
  WICK_CLEAR(0) WICK_CLEAR(1) WICK_CLEAR(2) WICK_CLEAR(3) WICK_CLEAR(4)         \
  WICK_CLEAR(5) WICK_CLEAR(6) WICK_CLEAR(7) WICK_CLEAR(8) WICK_CLEAR(9)         \
  WICK_CLEAR(10) WICK_CLEAR(11) WICK_CLEAR(12) WICK_CLEAR(13)
// clang-format on

constexpr double kChains = 12;

double f32_avx512(std::int64_t rounds) {
  const double flops = kChains * 16 * 2 * static_cast<double>(rounds);
  __asm__ volatile(WICK_CLEAR_ALL WICK_CHAINS("vfmadd231ps", "zmm")
                   : "+r"(rounds)
                   :
                   : WICK_CLOBBERS);
  return flops;
}

double f32_avx2(std::int64_t rounds) {
  const double flops = kChains * 8 * 2 * static_cast<double>(rounds);
  __asm__ volatile(WICK_CLEAR_ALL WICK_CHAINS("vfmadd231ps", "ymm")
                   : "+r"(rounds)
                   :
                   : WICK_CLOBBERS);
  return flops;
}

double bf16_avx512(std::int64_t rounds) {
  const double flops = kChains * 32 * 2 * static_cast<double>(rounds);
  __asm__ volatile(WICK_CLEAR_ALL WICK_CHAINS("vdpbf16ps", "zmm") : "+r"(rounds) : : WICK_CLOBBERS);
  return flops;
}

// Six tiles of sums, two of factors, each of 16 rows of 64 bytes.
double bf16_amx(std::int64_t rounds) {
  struct alignas(64) Configuration {
    std::uint8_t palette = 1, start_row = 0;
    std::array<std::uint8_t, 14> reserved{};
    std::array<std::uint16_t, 16> row_bytes{64, 64, 64, 64, 64, 64, 64, 64};
    std::array<std::uint8_t, 16> rows{16, 16, 16, 16, 16, 16, 16, 16};
  };
  const Configuration configuration;
  const double flops = 6 * 16.0 * 16 * 32 * 2 * static_cast<double>(rounds);
  __asm__ volatile(
      "ldtilecfg %1\n\ttilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3\n\t"
      "tilezero %%tmm4\n\ttilezero %%tmm5\n\ttilezero %%tmm6\n\ttilezero %%tmm7\n"
      "1:\n\ttdpbf16ps %%tmm7, %%tmm6, %%tmm0\n\ttdpbf16ps %%tmm7, %%tmm6, %%tmm1\n\t"
      "tdpbf16ps %%tmm7, %%tmm6, %%tmm2\n\ttdpbf16ps %%tmm7, %%tmm6, %%tmm3\n\t"
      "tdpbf16ps %%tmm7, %%tmm6, %%tmm4\n\ttdpbf16ps %%tmm7, %%tmm6, %%tmm5\n\t"
      "dec %0\n\tjnz 1b\n\ttilerelease"
      : "+r"(rounds)
      : "m"(configuration)
      : "cc", "memory");
  return flops;
}

// Eight vectors a turn.
#define WICK_LOAD(reg, bytes, n) "vmovups " #n "*" #bytes "(%0), %%" reg #n "\n\t"
#define WICK_STORE(store, reg, bytes, n) store " %%" reg #n ", " #n "*" #bytes "(%1)\n\t"
#define WICK_LOADS(reg, bytes) \
  WICK_LOAD(reg, bytes, 0)     \
  WICK_LOAD(reg, bytes, 1)     \
  WICK_LOAD(reg, bytes, 2)     \
  WICK_LOAD(reg, bytes, 3)     \
  WICK_LOAD(reg, bytes, 4)     \
  WICK_LOAD(reg, bytes, 5) WICK_LOAD(reg, bytes, 6) WICK_LOAD(reg, bytes, 7)
#define WICK_STORES(store, reg, bytes) \
  WICK_STORE(store, reg, bytes, 0)     \
  WICK_STORE(store, reg, bytes, 1)     \
  WICK_STORE(store, reg, bytes, 2)     \
  WICK_STORE(store, reg, bytes, 3)     \
  WICK_STORE(store, reg, bytes, 4)     \
  WICK_STORE(store, reg, bytes, 5) WICK_STORE(store, reg, bytes, 6) WICK_STORE(store, reg, bytes, 7)
#define WICK_TURNS(reg, bytes, stores)                                             \
  "1:\n\t" WICK_LOADS(reg, bytes) stores "add $8*" #bytes ", %0\n\tadd $8*" #bytes \
                                         ", %1\n\tsub $8*" #bytes ", %2\n\tjnz 1b\n\tvzeroupper"
#define WICK_MEMORY_LOOP(name, reg, bytes, stores, end)                 \
  void name(const std::byte* from, std::byte* to, std::int64_t count) { \
    __asm__ volatile(WICK_TURNS(reg, bytes, stores) end                 \
                     : "+r"(from), "+r"(to), "+r"(count)                \
                     :                                                  \
                     : WICK_CLOBBERS);                                  \
  }

WICK_MEMORY_LOOP(read_avx512, "zmm", 64, "", "")
WICK_MEMORY_LOOP(copy_avx512, "zmm", 64, WICK_STORES("vmovups", "zmm", 64), "")
WICK_MEMORY_LOOP(copy_nt_avx512, "zmm", 64, WICK_STORES("vmovntps", "zmm", 64), "\n\tsfence")
WICK_MEMORY_LOOP(read_avx2, "ymm", 32, "", "")
WICK_MEMORY_LOOP(copy_avx2, "ymm", 32, WICK_STORES("vmovups", "ymm", 32), "")
WICK_MEMORY_LOOP(copy_nt_avx2, "ymm", 32, WICK_STORES("vmovntps", "ymm", 32), "\n\tsfence")

}  // namespace

#endif

namespace {

// Sums of vectors that any compiler knows; it makes multiply-adds of them where the instruction set has those.
double f32_plain(std::int64_t rounds) {
  using Vector __attribute__((vector_size(16))) = float;
  constexpr int kSums = 16;
  Vector sums[kSums] = {};
  Vector factor = {1, 1, 1, 1};
  for (std::int64_t i = 0; i < rounds; ++i) {
    __asm__ volatile("" : "+m"(factor));
    const Vector a = factor;
    for (Vector& sum : sums) sum = sum * a + a;
  }
  for (Vector& sum : sums) __asm__ volatile("" : : "m"(sum));
  return kSums * 4.0 * 2 * static_cast<double>(rounds);
}

void read_plain(const std::byte* from, std::byte* /*to*/, std::int64_t count) {
  std::uint64_t sums[8] = {};
  for (std::int64_t i = 0; i < count; i += 64) {
    std::uint64_t words[8];
    std::memcpy(words, from + i, sizeof(words));
    for (int k = 0; k < 8; ++k) sums[k] ^= words[k];
  }
  for (std::uint64_t& sum : sums) __asm__ volatile("" : : "m"(sum));
}

void copy_plain(const std::byte* from, std::byte* to, std::int64_t count) {
  std::memcpy(to, from, static_cast<std::size_t>(count));
  __asm__ volatile("" : : : "memory");
}

}  // namespace

ProductLoop product_loop(const std::string& dtype) {
#if defined(__x86_64__) && defined(__linux__)
  static const bool is_amx = has_amx();
  if (dtype == "bf16" && is_amx) return {"amx", bf16_amx};
  if (dtype == "bf16" && has_avx512_bf16()) return {"avx512_bf16", bf16_avx512};
  if (dtype == "f32" && has_avx512()) return {"avx512", f32_avx512};
  if (dtype == "f32" && has_avx2()) return {"avx2", f32_avx2};
#endif
  if (dtype == "f32") return {"vectors of 16 bytes", f32_plain};
  return {};
}

MemoryLoop memory_loop(const std::string& kind) {
#if defined(__x86_64__) && defined(__linux__)
  if (has_avx512()) {
    if (kind == "read") return read_avx512;
    if (kind == "copy") return copy_avx512;
    if (kind == "copy_nt") return copy_nt_avx512;
  } else if (has_avx2()) {
    if (kind == "read") return read_avx2;
    if (kind == "copy") return copy_avx2;
    if (kind == "copy_nt") return copy_nt_avx2;
  }
#endif
  if (kind == "read") return read_plain;
  if (kind == "copy" || kind == "copy_nt") return copy_plain;
  return nullptr;
}

}  // namespace wick::bench
