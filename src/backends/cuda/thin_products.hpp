#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "backends/cuda/cuda_stream.hpp"
#include "backends/cuda/products.hpp"

namespace wick::cuda {

inline constexpr int kMostThin = 3;  ///< products of one launch, and adapters of one product

/// The part of a thin product that belongs to one adapter: the next R of its ranks.
struct ThinRange {
  std::int64_t R = 0;
  float* p_f32 = nullptr;  ///< [M,R], may be null
  Matrix d;                ///< [C,R] f32 or x's dtype, any strides; no data: not wanted
  float scale = 1;         ///< of d
};

/// The products of low-rank adapters' sides with a wide matrix x [M,C] of f16 or bf16, rows dense; R is the sum over
/// adapters. One pass over x makes both of these, or one of them:
///
///     p [M,R] = x t      (t [C,R], dense along either axis, f32 or x's dtype: rounded to x's dtype)
///     d [C,R] = scale · xᵀ g   (g [M,R], rows dense, f32 or x's dtype: rounded to x's dtype)
///
/// Sums are f32, in an order that depends on the shape alone.
struct ThinProducts {
  std::int64_t M = 0;
  std::int64_t C = 0;
  void* x = nullptr;  ///< only read
  DType dtype = DType::kBF16;
  std::array<ThinRange, kMostThin> ranges;
  int count = 1;  ///< of ranges

  Matrix t;                       ///< no data: p is not wanted
  void* p = nullptr;              ///< [M,R] in x's dtype, may be null
  std::int64_t p_row_stride = 0;  ///< of p
  Matrix g;                       ///< no data: d is not wanted

  std::int64_t total_rank() const {
    return ranges[0].R + (count > 1 ? ranges[1].R : 0) + (count > 2 ? ranges[2].R : 0);
  }
};

/// What is left to be done for d: each block has written sums over its rows. Holds their memory.
class ThinSums {
 public:
  struct Job {
    ThinProducts products;
    int blocks;
    int padded_rank;
    const float* parts;  ///< [blocks, C, padded_rank]
  };

  void add(const Job& job, std::unique_ptr<Scratch> memory) {
    jobs_.push_back(job);
    memory_.push_back(std::move(memory));
  }
  /// Enqueues the last additions of all that were added. Early: the kernel before in the stream, which has Hopper code,
  /// makes none of them, and these need not wait for it.
  void finish(Stream& stream, bool early = false);

 private:
  std::vector<Job> jobs_;
  std::vector<std::unique_ptr<Scratch>> memory_;
};

/// Enqueues up to kMostThin products, which want the same and share M and the dtype, or says why not: ranks above 64, f32,
/// and rows that are not made of 16 bytes are for others. d is complete after sums.finish().
KernelStatus multiply_thin(Stream& stream, std::span<const ThinProducts> products, ThinSums& sums);
/// Why it would not; empty when it would.
std::string thin_refusal(const ThinProducts& products);

/// y [M,N] += scale · p [M,R] s, with s [R,N] of any strides, for a dense y of f16 or bf16; p is dense, f32 or y's
/// dtype. p and s are rounded to y's dtype, sums are f32.
struct ThinUpdate {
  std::int64_t M = 0;
  std::int64_t N = 0;
  std::int64_t R = 0;
  void* y = nullptr;
  DType dtype = DType::kBF16;
  Matrix p;
  Matrix s;
  float scale = 1;
};

/// As above.
KernelStatus add_thin(Stream& stream, const ThinUpdate& update);

}  // namespace wick::cuda
