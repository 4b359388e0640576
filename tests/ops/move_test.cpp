#include "wick/ops/move.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "harness/check_op.hpp"
#include "wick/ops/view.hpp"

namespace wick {

namespace {

std::vector<float> counted(std::int64_t n) {
  std::vector<float> values(static_cast<std::size_t>(n));
  std::iota(values.begin(), values.end(), 1.0F);
  return values;
}

}  // namespace

TEST(To, GoesToEveryDeviceAndBack) {
  const Tensor x = Tensor::from_values(counted(6), {2, 3});
  for (const Device device : testing::computing_devices()) {
    const Tensor there = x.to(device);
    EXPECT_EQ(there.device(), device);
    EXPECT_EQ(there.shape(), x.shape());
    const Tensor back = there.to(kCpuDevice);
    EXPECT_EQ(back.device(), kCpuDevice);
    EXPECT_EQ(back.to_vector<float>(), counted(6));
  }
}

TEST(To, TakesAViewInItsOwnOrder) {
  for (const Device device : testing::computing_devices()) {
    const Tensor x = Tensor::from_values(counted(6), {2, 3}, device);
    const Tensor turned = transpose(x, 0, 1).to(kCpuDevice);
    EXPECT_EQ(turned.to_vector<float>(), (std::vector<float>{1, 4, 2, 5, 3, 6}))
        << to_string(device);
  }
}

TEST(To, IsTheTensorItselfWhereItIsAlready) {
  const Tensor x = Tensor::from_values(counted(4), {4}).set_requires_grad(true);
  EXPECT_TRUE(x.to(kCpuDevice).requires_grad());
}

TEST(To, CarriesNoGradient) {
  const Tensor x = Tensor::from_values(counted(4), {4}).set_requires_grad(true);
  EXPECT_FALSE(x.to(kNullDevice).requires_grad());
  EXPECT_EQ(x.to(kNullDevice).shape(), (Shape{4}));
}

}  // namespace wick
