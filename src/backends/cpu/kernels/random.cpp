#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/kernels/random.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cmath>
#include <numbers>
#include <type_traits>

#include "backends/cpu/cpu_kernels.hpp"
#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/dtype_switch.hpp"
#include "backends/cpu/element_blocks.hpp"
#include "backends/cpu/philox.hpp"
#include "backends/cpu/simd-inl.hpp"
#include "layout/view_cast.hpp"
#include "runtime/args/random_args.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

using U32 = hn::Rebind<std::uint32_t, F32>;
using U32Vec = hn::Vec<U32>;

// ---- Words: one lane per counter ----------------------------------------------------------------

#if HWY_TARGET == HWY_SCALAR  // has none of the vector operations below

// The words of `counters` counters from `first` on, four each.
void philox_words(PhiloxKey key, std::uint64_t first, std::int64_t counters, std::uint32_t* words) {
  for (std::int64_t i = 0; i < counters; ++i) {
    const auto four = philox4x32(philox_counter(first + static_cast<std::uint64_t>(i)), key);
    for (int lane = 0; lane < 4; ++lane) *words++ = four[lane];
  }
}

#else

// The halves of the 64-bit products a · b.
HWY_INLINE void multiply(U32Vec a, U32Vec b, U32Vec& high, U32Vec& low) {
  const U32 d32;
  const hn::RepartitionToWide<U32> d64;
  const auto even = hn::MulEven(a, b);
  const auto odd = hn::MulEven(hn::BitCast(d32, hn::ShiftRight<32>(hn::BitCast(d64, a))), b);
  low = hn::OddEven(hn::BitCast(d32, hn::ShiftLeft<32>(odd)), hn::BitCast(d32, even));
  high = hn::OddEven(hn::BitCast(d32, odd), hn::BitCast(d32, hn::ShiftRight<32>(even)));
}

// The four words of the counters (c0, c1, 0, 0), in order of counters, then words: 4 · lanes() of
// them.
HWY_INLINE void philox_vector(PhiloxKey key, U32Vec c0, U32Vec c1, std::uint32_t* words) {
  const U32 d;
  const auto multiplier0 = hn::Set(d, kPhiloxMultipliers[0]);
  const auto multiplier1 = hn::Set(d, kPhiloxMultipliers[1]);
  auto c2 = hn::Zero(d);
  auto c3 = hn::Zero(d);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    U32Vec high0 = c0;
    U32Vec low0 = c0;
    U32Vec high1 = c2;
    U32Vec low1 = c2;
    multiply(c0, multiplier0, high0, low0);
    multiply(c2, multiplier1, high1, low1);
    c0 = hn::Xor(hn::Xor(high1, c1), hn::Set(d, key[0]));
    c1 = low1;
    c2 = hn::Xor(hn::Xor(high0, c3), hn::Set(d, key[1]));
    c3 = low0;
    key = {{key[0] + kPhiloxWeyl[0], key[1] + kPhiloxWeyl[1]}};
  }
  hn::StoreInterleaved4(c0, c1, c2, c3, d, words);
}

// The words of `counters` counters from `first` on, four each. Writes whole vectors: `words` has
// room for a number of counters that is a multiple of every vector width.
void philox_words(PhiloxKey key, std::uint64_t first, std::int64_t counters, std::uint32_t* words) {
  const U32 d;
  for (std::int64_t i = 0; i < counters; i += lanes()) {
    const PhiloxCounter start = philox_counter(first + static_cast<std::uint64_t>(i));
    const auto c0 = hn::Add(hn::Set(d, start[0]), hn::Iota(d, 0));
    const auto carried = hn::Lt(c0, hn::Set(d, start[0]));
    const auto c1 = hn::Set(d, start[1]);
    philox_vector(key, c0, hn::IfThenElse(carried, hn::Add(c1, hn::Set(d, 1)), c1), words + 4 * i);
  }
}

#endif

// ---- Dropout ------------------------------------------------------------------------------------

// out[i] = x[i] · factor where word i has at least `threshold` in its uniform bits, else 0, for i <
// n. Selected, not multiplied by 0: what is dropped is zero even where it was infinite.
template <class T>
void dropout_row(const T* x, const std::uint32_t* words, std::uint32_t threshold, float factor,
                 T* out, std::int64_t n) {
  const U32 d;
  const auto vfactor = hn::Set(F32(), factor);
  const auto vthreshold = hn::Set(d, threshold);
  for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    const auto bits = hn::ShiftRight<8>(hn::LoadU(d, words + i));
    const auto kept = hn::RebindMask(F32(), hn::Not(hn::Lt(bits, vthreshold)));
    const auto scaled = hn::Mul(load_some(x + i, count), vfactor);
    store_some(hn::IfThenElseZero(kept, scaled), out + i, count);
  });
}

// x and out dense, of one shape and floating dtype. A task owns blocks of elements; the words of a
// block are made in a buffer that stays in the first-level cache.
void dropout_blocks(Stream& stream, const DropoutArgs& args) {
  const std::uint64_t first = first_counter(args.key);
  const PhiloxKey key = philox_key(args.key.seed);
  const std::uint32_t threshold = dropout_threshold(args.p);
  const float factor = static_cast<float>(1.0 / (1.0 - args.p));
  switch_floating(args.x.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const x = data_as<const T>(args.x);
    T* const out = data_as<T>(args.out);
    for_each_block(stream, args.x.numel(), [&](std::int64_t begin, std::int64_t n) {
      std::uint32_t words[kBlockElements];
      philox_words(key, first + static_cast<std::uint64_t>(begin / 4), (n + 3) / 4, words);
      dropout_row(x + begin, words, threshold, factor, out + begin, n);
    });
  });
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace wick::cpu {

HWY_EXPORT(philox_words);
HWY_EXPORT(dropout_blocks);

void draw_philox_words(PhiloxKey key, std::uint64_t first, std::int64_t counters,
                       std::uint32_t* words) {
  HWY_DYNAMIC_DISPATCH(philox_words)(key, first, counters, words);
}

namespace {

// Below, numbers are made from words by code that is compiled once, so that a seed gives the same
// numbers with every instruction set.

// Calls body(begin, n, words) for blocks of the elements of args.out: words[i] is that of element
// begin + i, and words come in fours.
template <class Body>
void for_each_block_of_words(Stream& stream, const RandomArgs& args, const Body& body) {
  const std::uint64_t first = first_counter(args.key);
  const PhiloxKey key = philox_key(args.key.seed);
  for_each_block(stream, args.out.numel(), [&](std::int64_t begin, std::int64_t n) {
    std::uint32_t words[kBlockElements];
    draw_philox_words(key, first + static_cast<std::uint64_t>(begin / 4), (n + 3) / 4, words);
    body(begin, n, words);
  });
}

float next_below(float value) { return std::nextafter(value, -HUGE_VALF); }

// For f16 and bf16: sign and magnitude, magnitudes in the order of their bits.
template <class T>
T next_below(T value) {
  constexpr std::uint16_t kSign = 0x8000;
  T below;
  if ((value.bits & ~kSign) == 0) {
    below.bits = kSign | 1;
  } else {
    const int step = (value.bits & kSign) == 0 ? -1 : 1;
    below.bits = static_cast<std::uint16_t>(value.bits + step);
  }
  return below;
}

template <class T>
bool is_below(T value, double bound) {
  return static_cast<double>(static_cast<float>(value)) < bound;
}

// The largest T below `bound`: rounding goes up by less than one step.
template <class T>
T largest_below(double bound) {
  const T value = static_cast<T>(static_cast<float>(bound));
  return is_below(value, bound) ? value : next_below(value);
}

// r cos θ and r sin θ, independent and standard normal, from two words: Box and Muller.
struct NormalPair {
  double first;
  double second;
};

NormalPair normal_pair(std::uint32_t word0, std::uint32_t word1) {
  const double uniform_above_0 = (uniform_bits(word0) + 1.0) * 0x1p-24;
  const double turn = uniform_bits(word1) * 0x1p-24;
  const double r = std::sqrt(-2.0 * std::log(uniform_above_0));
  const double theta = 2.0 * std::numbers::pi * turn;
  return {r * std::cos(theta), r * std::sin(theta)};
}

}  // namespace

// out dense. A task owns blocks of elements.
KernelStatus random_uniform(Stream& stream, const RandomArgs& args) {
  const float a = static_cast<float>(args.a);
  const double width = static_cast<float>(args.b) - a;
  switch_floating(args.out.dtype, [&]<class T>(std::type_identity<T>) {
    T* const out = data_as<T>(args.out);
    const T last = largest_below<T>(args.b);
    const auto make = [&](std::int64_t begin, std::int64_t n, const std::uint32_t* words) {
      for (std::int64_t i = 0; i < n; ++i) {
        // The product is exact in double and rounded here: no compiler can fuse it with the sum.
        const float step = static_cast<float>(width * static_cast<double>(uniform(words[i])));
        const T value = static_cast<T>(a + step);
        out[begin + i] = is_below(value, args.b) ? value : last;
      }
    };
    for_each_block_of_words(stream, args, make);
  });
  return KernelStatus::ok();
}

// out dense. A task owns blocks of elements; the words of a pair make two neighbours.
KernelStatus random_normal(Stream& stream, const RandomArgs& args) {
  switch_floating(args.out.dtype, [&]<class T>(std::type_identity<T>) {
    T* const out = data_as<T>(args.out);
    const auto rounded = [&](double z) {
      return static_cast<T>(static_cast<float>(args.a + args.b * z));
    };
    const auto make = [&](std::int64_t begin, std::int64_t n, const std::uint32_t* words) {
      for (std::int64_t i = 0; i < n; i += 2) {
        const NormalPair pair = normal_pair(words[i], words[i + 1]);
        out[begin + i] = rounded(pair.first);
        if (i + 1 < n) out[begin + i + 1] = rounded(pair.second);
      }
    };
    for_each_block_of_words(stream, args, make);
  });
  return KernelStatus::ok();
}

KernelStatus dropout(Stream& stream, const DropoutArgs& args) {
  HWY_DYNAMIC_DISPATCH(dropout_blocks)(stream, args);
  return KernelStatus::ok();
}

}  // namespace wick::cpu
#endif  // HWY_ONCE
