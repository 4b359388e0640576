#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

// The f32 product of the library that this build uses: oneDNN or Apple's Accelerate (WICK_SGEMM of CMake).

namespace wick::cpu {

/// A matrix that is read: its rows are contiguous and `stride` elements apart, or its columns are where it is
/// transposed.
struct SgemmOperand {
  const float* data = nullptr;
  std::int64_t stride = 0;
  bool transposed = false;
};

/// c = alpha · a b + beta · c with a [M,K], b [K,N] and the rows of c [M,N] `c_stride` apart. With beta = 0 c is never
/// read.
struct Sgemm {
  std::int64_t M = 0;
  std::int64_t N = 0;
  std::int64_t K = 0;
  float alpha = 1;
  SgemmOperand a, b;
  float beta = 0;
  float* c = nullptr;
  std::int64_t c_stride = 0;
};

/// The largest size and stride that sgemm() takes.
inline constexpr std::int64_t kSgemmLargest = std::numeric_limits<std::int32_t>::max();

/// Computes a product of sizes that are not 0. A stride is at least the length of what is contiguous.
void sgemm(const Sgemm& product);

/// The library's name: a variant of "matmul".
std::string_view sgemm_name();

/// Whether it reaches matrix units of the processor that vector instructions do not.
bool sgemm_has_matrix_units();

/// Whether products with many rows of a transposed b, a weight [N,K], were measured to be faster there than our tiles on
/// processors of this kind.
bool sgemm_turns_ahead_of_tiles();

/// Sets how many threads the library may use for sgemm() on the calling thread, as far as it can be told; returns the
/// number before.
int set_sgemm_threads(int n);

/// While it lives, sgemm() stays on the thread that made it.
class SingleThreadedSgemm {
 public:
  SingleThreadedSgemm() : before_(set_sgemm_threads(1)) {}
  ~SingleThreadedSgemm() { set_sgemm_threads(before_); }
  SingleThreadedSgemm(const SingleThreadedSgemm&) = delete;
  SingleThreadedSgemm& operator=(const SingleThreadedSgemm&) = delete;

 private:
  int before_;
};

}  // namespace wick::cpu
