#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <memory>
#include <numeric>

#include "backends/mps/mps_stream.hpp"
#include "mps/mps_support.hpp"
#include "tensor/tensor_impl.hpp"
#include "wick/models/causal_lm.hpp"
#include "wick/ops/arithmetic.hpp"
#include "wick/ops/reduce.hpp"

// Memory of the host that the device works on where it is.

namespace wick::test {
namespace {

class SharedMemoryTest : public MpsTest {
 protected:
  void SetUp() override {
    MpsTest::SetUp();
    bytes_ = std::make_shared<std::vector<std::byte>>(300'000);
    auto* const numbers = std::launder(reinterpret_cast<float*>(bytes_->data()));
    std::iota(numbers, numbers + bytes_->size() / sizeof(float), 0.0F);
    alive_ = bytes_;
  }

  // Elements [first, first + count) of the memory as a tensor of the host.
  Tensor part(std::int64_t first, std::int64_t count) {
    const std::span<std::byte> all(*bytes_);
    return Tensor::from_external(all.subspan(static_cast<std::size_t>(first) * sizeof(float),
                                             static_cast<std::size_t>(count) * sizeof(float)),
                                 DType::kF32, {count}, bytes_);
  }
  static std::vector<float> range(std::int64_t first, std::int64_t count) {
    std::vector<float> values(static_cast<std::size_t>(count));
    std::iota(values.begin(), values.end(), static_cast<float>(first));
    return values;
  }

  std::shared_ptr<std::vector<std::byte>> bytes_;
  std::weak_ptr<std::vector<std::byte>> alive_;
};

TEST_F(SharedMemoryTest, NothingIsCopied) {
  const auto before = memory_stats(kMpsDevice).num_allocations;
  const Tensor host = part(3, 50'000);
  const Tensor shared = detail::share_or_move(host, kMpsDevice);
  EXPECT_EQ(shared.device(), kMpsDevice);
  EXPECT_EQ(detail::view(shared).data, detail::view(host).data);
  EXPECT_EQ(memory_stats(kMpsDevice).num_allocations, before);
  EXPECT_EQ(shared.to_vector<float>(), range(3, 50'000));
  EXPECT_EQ(sub(add(shared, shared), shared).to_vector<float>(), range(3, 50'000));
}

// Tensors of a file lie beside each other: small ones share pages, large ones begin where others end.
TEST_F(SharedMemoryTest, NeighboursOnOnePage) {
  std::vector<Tensor> shared;
  std::vector<std::vector<float>> expected;
  std::int64_t first = 1;
  for (const std::int64_t count : {5, 7, 30'000, 3, 2, 6'000, 4'096, 1, 20'000}) {
    shared.push_back(detail::share_or_move(part(first, count), kMpsDevice));
    expected.push_back(range(first, count));
    first += count;
  }
  for (std::size_t i = 0; i < shared.size(); ++i) {
    EXPECT_EQ(scale(shared[i], 1).to_vector<float>(), expected[i]) << i;
  }
  // In the order in which they go, the others keep theirs.
  for (std::size_t i = 0; i < shared.size(); ++i) {
    shared[i] = Tensor();
    for (std::size_t k = i + 1; k < shared.size(); ++k) {
      EXPECT_EQ(scale(shared[k], 1).to_vector<float>(), expected[k]) << i << " " << k;
    }
  }
}

// The memory lives until the work that reads it has ended, and no longer.
TEST_F(SharedMemoryTest, TheOwnerIsKeptUntilTheWorkHasEnded) {
  Tensor total;
  {
    const Tensor shared = detail::share_or_move(part(0, 10), kMpsDevice);
    total = sum(shared);
  }
  bytes_.reset();
  EXPECT_FALSE(alive_.expired()) << "a kernel that is enqueued reads it";
  EXPECT_EQ(total.item<float>(), 45);
  softmetal::drain();
  EXPECT_TRUE(alive_.expired());
}

TEST_F(SharedMemoryTest, WhatMetalRefusesIsCopied) {
  const Tensor host = part(0, 10);
  numbers({1}).item<float>();  // the device is there
  softmetal::inject({.buffer_allocation = 1});
  const Tensor moved = detail::share_or_move(host, kMpsDevice);
  EXPECT_NE(detail::view(moved).data, detail::view(host).data);
  EXPECT_EQ(moved.to_vector<float>(), range(0, 10));
}

TEST_F(SharedMemoryTest, WeightsOfAModelStayInTheirFile) {
  const std::filesystem::path folder =
      std::filesystem::path(WICK_TEST_FIXTURES) / "models" / "qwen3-qknorm";
  const std::int64_t before = memory_stats(kMpsDevice).live_bytes;
  const auto model = CausalLm::load(folder, {.device = kMpsDevice});
  std::int64_t bytes = 0;
  for (const auto& [name, tensor] : model->parameters()) {
    bytes += tensor.numel() * static_cast<std::int64_t>(size_of(tensor.dtype()));
  }
  EXPECT_GT(bytes, 100'000);
  // What is made of the configuration alone, tables of angles say, is all that was allocated.
  EXPECT_LT(memory_stats(kMpsDevice).live_bytes - before, bytes / 50);
}

}  // namespace
}  // namespace wick::test
