#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string_view>

#include "backends/mps/way_table.hpp"
#include "runtime/kernel_status.hpp"
#include "wick/apple/mps.hpp"
#include "wick/layout/dtype.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::mps {

class MpsBackend;

/// A matrix of each of a batch, in elements.
struct Matrix {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 1;
  std::int64_t batch_stride = 0;  ///< 0: the same for all of the batch
};

/// c = alpha · a b + beta · c + bias + scale · p s for each of G matrices: a [M,K], b [K,N], c [M,N] with neighbours in a
/// row, bias [N]; p [M,R] f32 dense and s [R,N] come with G = 1 and alpha = 1 only. With beta = 0 c is not read.
struct Product {
  std::int64_t G = 1;
  std::int64_t M = 0, N = 0, K = 0;
  Matrix a, b;
  void* c = nullptr;
  DType c_dtype = DType::kF32;
  std::int64_t c_row_stride = 0, c_batch_stride = 0;
  float alpha = 1, beta = 0;
  const void* bias = nullptr;  ///< may be null
  DType bias_dtype = DType::kF32;
  std::int64_t R = 0;
  const void* p = nullptr;
  Matrix s;
  float scale = 1;
};

/// A product whose b lies by columns and that has at most 8 rows, by one pass over b.
KernelStatus multiply_few_rows(Stream& stream, const Product& product);
/// By MPSMatrixMultiplication: products of f32 and f16 without bias and update, whose strides it knows.
KernelStatus multiply_by_mps(Stream& stream, const Product& product);
/// Any product, by tiles.
KernelStatus multiply_by_tiles(Stream& stream, const Product& product);

/// One of them: the one forced for "matmul", the one measured to be best, or the first that takes it, MPS where the product
/// is large enough to gain; or `only` this one.
KernelStatus multiply(Stream& stream, const Product& product, std::string_view only = {});

/// True for products that are large enough for MPS to gain.
bool is_worth_mps(const CallShape& shape);

/// What decides how fast a product is.
CallShape shape_of(const Product& product);

/// The kernels of MPS for the products that a process makes again and again. May be used by several threads.
class ProductCache {
 public:
  struct Entry {
    apple::mps::MatrixMultiplication kernel;
    apple::mps::MatrixDescriptor left, right, result;
  };
  /// What is different between two products for MPS.
  using Key = std::array<std::int64_t, 16>;

  /// Calls use(entry) with the entry of `key`, which `make` makes when there is none.
  template <class Make, class Use>
  void with(const Key& key, const Make& make, const Use& use) {
    constexpr std::size_t kMostEntries = 1024;  // shapes of a batch vary; a kernel is made quickly
    const std::lock_guard lock(mutex_);         // kernels of MPS belong to one thread at a time
    auto found = entries_.find(key);
    if (found == entries_.end()) {
      if (entries_.size() >= kMostEntries) entries_.clear();
      found = entries_.emplace(key, make()).first;
    }
    use(found->second);
  }

 private:
  std::mutex mutex_;
  std::map<Key, Entry> entries_;
};

}  // namespace wick::mps
