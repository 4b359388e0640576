#include "wick/tensor/tensor.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tensor/tensor_impl.hpp"
#include "wick/base/error.hpp"
#include "wick/runtime/memory.hpp"

namespace wick {

namespace {

constexpr Device kBothDevices[] = {kCpuDevice, kNullDevice};
constexpr Device kAbsentDevice{DeviceType::kCuda, 97};

template <class Call>
void expect_error(ErrorKind kind, const std::vector<std::string>& parts, const Call& call) {
  try {
    call();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << "no \"" << part << "\" in: " << error.what();
    }
  }
}

// 0, 1, 2, … in row-major order.
Tensor counted(const Shape& shape) {
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  std::iota(values.begin(), values.end(), 0.0F);
  return Tensor::from_values(values, shape);
}

Tensor transposed(const Tensor& matrix) {
  const std::array<int, 2> order{1, 0};
  return detail::with_layout(matrix, permute(detail::layout_of(matrix), order));
}

TEST(TensorFactories, EmptyIsDenseAndDescribesItself) {
  for (const Device device : kBothDevices) {
    for (const DType dtype : kAllDTypes) {
      const Tensor tensor = Tensor::empty({2, 3, 4}, dtype, device);
      EXPECT_TRUE(tensor.defined());
      EXPECT_EQ(tensor.shape(), (Shape{2, 3, 4}));
      EXPECT_EQ(tensor.rank(), 3);
      EXPECT_EQ(tensor.numel(), 24);
      EXPECT_EQ(tensor.dtype(), dtype);
      EXPECT_EQ(tensor.device(), device);
      EXPECT_TRUE(tensor.is_contiguous());
      EXPECT_TRUE(std::ranges::equal(tensor.strides(), std::vector<std::int64_t>{12, 4, 1}));
      EXPECT_TRUE(tensor.is_leaf());
      EXPECT_FALSE(tensor.requires_grad());
      EXPECT_FALSE(tensor.grad().defined());
    }
  }
}

TEST(TensorFactories, DimCountsFromBothEnds) {
  const Tensor tensor = Tensor::empty({2, 3, 4}, DType::kF32);
  for (int axis = 0; axis < 3; ++axis) {
    EXPECT_EQ(tensor.dim(axis), axis + 2);
    EXPECT_EQ(tensor.dim(axis - 3), axis + 2);
  }
  expect_error(ErrorKind::kShape, {"dim", "axis 3", "rank 3", "[2,3,4] f32@cpu"},
               [&] { tensor.dim(3); });
  expect_error(ErrorKind::kShape, {"axis -4"}, [&] { tensor.dim(-4); });
  expect_error(ErrorKind::kShape, {"rank 0"}, [] { Tensor::empty({}, DType::kF32).dim(0); });
}

TEST(TensorFactories, FullConvertsItsValueToEveryDtype) {
  EXPECT_EQ(Tensor::full({3}, 2.5, DType::kF32).to_vector<float>(),
            (std::vector<float>{2.5F, 2.5F, 2.5F}));
  EXPECT_EQ(Tensor::full({}, 2.7, DType::kI32).item<std::int32_t>(), 2);
  EXPECT_EQ(Tensor::full({}, -2.7, DType::kI64).item<std::int64_t>(), -2);
  EXPECT_EQ(Tensor::full({}, 200, DType::kU8).item<std::uint8_t>(), 200);
  EXPECT_EQ(Tensor::full({}, 0.5, DType::kBool).item<bool>(), true);
  EXPECT_EQ(Tensor::full({}, 0.1, DType::kF16).item<Half>().bits, Half(0.1F).bits);
  EXPECT_EQ(Tensor::full({}, 0.1, DType::kBF16).item<BFloat16>().bits, BFloat16(0.1F).bits);
  EXPECT_EQ(Tensor::zeros({2, 2}, DType::kI64).to_vector<std::int64_t>(),
            (std::vector<std::int64_t>(4, 0)));
}

TEST(TensorFactories, NullTensorsReadAsZeros) {
  EXPECT_EQ(Tensor::full({3}, 7, DType::kF32, kNullDevice).to_vector<float>(),
            (std::vector<float>(3, 0.0F)));
  const Tensor given = Tensor::from_values(std::vector<float>{1, 2}, {2}, kNullDevice);
  EXPECT_EQ(given.to_vector<float>(), (std::vector<float>(2, 0.0F)));
}

TEST(TensorFactories, FromValuesCopiesThem) {
  std::vector<std::int32_t> values{1, 2, 3, 4, 5, 6};
  const Tensor tensor = Tensor::from_values(values, {2, 3});
  values.assign(6, 0);
  EXPECT_EQ(tensor.dtype(), DType::kI32);
  EXPECT_EQ(tensor.to_vector<std::int32_t>(), (std::vector<std::int32_t>{1, 2, 3, 4, 5, 6}));
  const std::array<bool, 2> flags{true, false};
  const Tensor bools = Tensor::from_values(std::span<const bool>(flags), {2});
  EXPECT_EQ(bools.to_vector<std::uint8_t>(), (std::vector<std::uint8_t>{1, 0}));
}

TEST(TensorFactories, FromValuesRefusesAnotherNumber) {
  expect_error(ErrorKind::kShape, {"from_values", "[2,3] f32", "24 bytes", "got 20"},
               [] { Tensor::from_values(std::vector<float>(5), {2, 3}); });
  expect_error(ErrorKind::kShape, {"[0] f32", "got 4"},
               [] { Tensor::from_values(std::vector<float>(1), {0}); });
}

TEST(TensorFactories, EmptyShapesAndScalarsWork) {
  for (const Device device : kBothDevices) {
    const Tensor none = Tensor::full({3, 0, 2}, 1, DType::kF32, device);
    EXPECT_EQ(none.numel(), 0);
    EXPECT_TRUE(none.is_contiguous());
    EXPECT_TRUE(none.to_vector<float>().empty());
    EXPECT_EQ(Tensor::zeros({}, DType::kF32, device).item<float>(), 0.0F);
  }
  EXPECT_EQ(Tensor::from_values(std::vector<float>{}, {0}).numel(), 0);
}

TEST(TensorFactories, AnAbsentDeviceAndTooMuchMemoryAreRefused) {
  expect_error(ErrorKind::kDevice, {"cuda:97"},
               [] { Tensor::empty({1}, DType::kF32, kAbsentDevice); });
  expect_error(ErrorKind::kDevice, {"cuda:97"},
               [] { Tensor::from_values(std::vector<float>(1), {1}, kAbsentDevice); });
  set_memory_limit(kNullDevice, 1 << 20);
  expect_error(ErrorKind::kOutOfMemory, {"null", "limit 1048576"},
               [] { Tensor::empty({1 << 20}, DType::kF32, kNullDevice); });
  set_memory_limit(kNullDevice, 0);
}

TEST(TensorRead, RefusesAnotherDtype) {
  const Tensor tensor = Tensor::zeros({2}, DType::kF32);
  expect_error(ErrorKind::kDtype, {"f32, not i32", "[2] f32@cpu", "cast()"},
               [&] { tensor.to_vector<std::int32_t>(); });
  expect_error(ErrorKind::kDtype, {"f32, not bf16"}, [&] { tensor.to_vector<BFloat16>(); });
  // u8 reads bool, but not the other way round.
  EXPECT_EQ(Tensor::full({1}, 1, DType::kBool).to_vector<std::uint8_t>()[0], 1);
  expect_error(ErrorKind::kDtype, {"u8, not bool"},
               [] { Tensor::zeros({}, DType::kU8).item<bool>(); });
}

TEST(TensorRead, ItemNeedsExactlyOneElement) {
  EXPECT_EQ(Tensor::full({1, 1}, 3, DType::kF32).item<float>(), 3.0F);
  for (const Shape& shape : {Shape{2}, Shape{0}, Shape{2, 2}}) {
    expect_error(ErrorKind::kShape, {"item", to_string(shape) + " f32@cpu"},
                 [&] { Tensor::zeros(shape, DType::kF32).item<float>(); });
  }
}

TEST(TensorRead, GivesRowMajorOrderForAnyLayout) {
  const Tensor matrix = counted({2, 3});
  const Tensor turned = transposed(matrix);
  EXPECT_EQ(turned.shape(), (Shape{3, 2}));
  EXPECT_FALSE(turned.is_contiguous());
  EXPECT_TRUE(turned.shares_storage_with(matrix));
  EXPECT_EQ(turned.to_vector<float>(), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  const Tensor column = detail::with_layout(turned, slice(detail::layout_of(turned), 0, 1, 2));
  EXPECT_EQ(column.to_vector<float>(), (std::vector<float>{1, 4}));
}

// Host memory whose end is noticed, with floats at any byte offset.
struct External {
  explicit External(std::vector<float> values, std::size_t odd = 0)
      : bytes(std::make_shared<std::vector<std::byte>>(values.size() * sizeof(float) + odd)),
        offset(odd) {
    std::memcpy(bytes->data() + odd, values.data(), values.size() * sizeof(float));
  }
  std::span<std::byte> elements() const { return std::span(*bytes).subspan(offset); }

  std::shared_ptr<std::vector<std::byte>> bytes;
  std::size_t offset;
};

TEST(TensorFromExternal, CopiesNothing) {
  const External memory({1, 2, 3, 4});
  const MemoryStats before = memory_stats(kCpuDevice);
  const Tensor tensor = Tensor::from_external(memory.elements(), DType::kF32, {2, 2}, memory.bytes);
  EXPECT_EQ(memory_stats(kCpuDevice).num_allocations, before.num_allocations);
  EXPECT_EQ(detail::view(tensor).data, memory.bytes->data());
  const float nine = 9;
  std::memcpy(memory.bytes->data() + sizeof(float), &nine, sizeof(float));
  EXPECT_EQ(tensor.to_vector<float>(), (std::vector<float>{1, 9, 3, 4}));
}

TEST(TensorFromExternal, KeepsTheOwnerUntilTheLastTensorIsGone) {
  std::weak_ptr<std::vector<std::byte>> watched;
  Tensor tensor;
  {
    const External memory({1, 2});
    watched = memory.bytes;
    tensor = Tensor::from_external(memory.elements(), DType::kF32, {2}, memory.bytes);
  }
  Tensor view = tensor.detach();
  tensor = Tensor();
  EXPECT_FALSE(watched.expired());
  EXPECT_EQ(view.to_vector<float>(), (std::vector<float>{1, 2}));
  view = Tensor();
  EXPECT_TRUE(watched.expired());
}

TEST(TensorFromExternal, MayStartAtAnyAddress) {
  for (const std::size_t odd : {1U, 2U, 3U, 5U}) {
    const External memory({1, 2, 3, 4, 5, 6}, odd);
    const Tensor tensor =
        Tensor::from_external(memory.elements(), DType::kF32, {2, 3}, memory.bytes);
    EXPECT_FALSE(detail::is_aligned(tensor));
    EXPECT_TRUE(tensor.is_contiguous());
    EXPECT_EQ(tensor.to_vector<float>(), (std::vector<float>{1, 2, 3, 4, 5, 6}));
    EXPECT_EQ(transposed(tensor).to_vector<float>(), (std::vector<float>{1, 4, 2, 5, 3, 6}));
    EXPECT_TRUE(detail::is_aligned(detail::dense(tensor)));
  }
}

TEST(TensorFromExternal, RefusesASizeThatDoesNotFit) {
  const External memory({1, 2});
  for (const Shape& shape : {Shape{1}, Shape{3}, Shape{2, 2}}) {
    expect_error(ErrorKind::kShape, {"from_external", to_string(shape), "got 8"}, [&] {
      Tensor::from_external(memory.elements(), DType::kF32, shape, memory.bytes);
    });
  }
}

TEST(TensorHandle, CopiesNameTheSameElementsAndGradient) {
  const Tensor tensor = counted({2});
  const Tensor copy =
      tensor;  // NOLINT(performance-unnecessary-copy-initialization): what is tested
  EXPECT_TRUE(copy.shares_storage_with(tensor));
  copy.set_requires_grad(true);
  EXPECT_TRUE(tensor.requires_grad());
  copy.set_grad(counted({2}));
  EXPECT_EQ(tensor.grad().to_vector<float>(), (std::vector<float>{0, 1}));
  EXPECT_FALSE(counted({2}).shares_storage_with(tensor));
}

TEST(TensorHandle, DetachSharesElementsButNoGradient) {
  const Tensor tensor = counted({2});
  tensor.set_requires_grad(true);
  tensor.set_grad(counted({2}));
  const Tensor detached = tensor.detach();
  EXPECT_TRUE(detached.shares_storage_with(tensor));
  EXPECT_FALSE(detached.requires_grad());
  EXPECT_FALSE(detached.grad().defined());
  EXPECT_TRUE(detached.is_leaf());
  detached.set_requires_grad(true);
  detached.set_requires_grad(false);
  EXPECT_TRUE(tensor.requires_grad());
}

TEST(TensorHandle, VersionIsThatOfTheMemory) {
  const Tensor tensor = counted({2});
  const Tensor view = tensor.detach();
  EXPECT_EQ(tensor.version(), 0U);
  detail::bump_version(view);
  EXPECT_EQ(tensor.version(), 1U);
  EXPECT_EQ(view.version(), 1U);
  EXPECT_EQ(detail::clone(tensor).version(), 0U);
}

TEST(TensorHandle, MemoryIsFreedWithTheLastHandle) {
  for (const Device device : kBothDevices) {
    const std::int64_t live = memory_stats(device).live_bytes;
    {
      const Tensor tensor = Tensor::empty({1000}, DType::kF32, device);
      const Tensor view = tensor.detach();
      EXPECT_GE(memory_stats(device).live_bytes, live + 4000);
    }
    EXPECT_EQ(memory_stats(device).live_bytes, live);
  }
}

TEST(TensorGradient, OnlyFloatingTensorsRequireOne) {
  for (const DType dtype : kAllDTypes) {
    const Tensor tensor = Tensor::zeros({2}, dtype);
    if (is_floating(dtype)) {
      EXPECT_TRUE(tensor.set_requires_grad(true).requires_grad());
    } else {
      expect_error(ErrorKind::kDtype, {"set_requires_grad", std::string(to_string(dtype)) + "@cpu"},
                   [&] { tensor.set_requires_grad(true); });
      EXPECT_FALSE(tensor.set_requires_grad(false).requires_grad());
    }
  }
}

TEST(TensorGradient, MustMatchItsTensor) {
  const Tensor tensor = counted({2, 3});
  const auto refused = [&](ErrorKind kind, const std::string& what, const Tensor& grad) {
    expect_error(kind, {"set_grad", what, "tensor [2,3] f32@cpu", "grad ["},
                 [&] { tensor.set_grad(grad); });
    EXPECT_FALSE(tensor.grad().defined());
  };
  refused(ErrorKind::kShape, "shape", counted({3, 2}));
  refused(ErrorKind::kDtype, "dtype", Tensor::zeros({2, 3}, DType::kBF16));
  refused(ErrorKind::kDevice, "device", Tensor::zeros({2, 3}, DType::kF32, kNullDevice));
  tensor.set_grad(counted({2, 3}));
  EXPECT_EQ(tensor.grad().numel(), 6);
  tensor.set_grad(Tensor());
  EXPECT_FALSE(tensor.grad().defined());
}

TEST(TensorUndefined, OnlyKnowsThatItIs) {
  const Tensor undefined;
  EXPECT_FALSE(undefined.defined());
  const Tensor copy = undefined;
  EXPECT_FALSE(copy.defined());
  EXPECT_FALSE(static_cast<bool>(detail::view(undefined)));
  const Operand operand = detail::describe("bias", undefined);
  EXPECT_EQ(operand.name + " " + operand.dtype, "bias undefined");
}

TEST(TensorUndefined, EveryCallThatIsRefusedIsNamed) {
  const Tensor undefined;
  const Tensor defined = counted({1});
  const auto refused = [](const std::string& name, const auto& call) {
    expect_error(ErrorKind::kArgument, {name + ": the tensor is undefined"}, call);
  };
  refused("shape", [&] { undefined.shape(); });
  refused("dtype", [&] { undefined.dtype(); });
  refused("device", [&] { undefined.device(); });
  refused("strides", [&] { undefined.strides(); });
  refused("is_contiguous", [&] { undefined.is_contiguous(); });
  refused("requires_grad", [&] { undefined.requires_grad(); });
  refused("set_requires_grad", [&] { undefined.set_requires_grad(true); });
  refused("is_leaf", [&] { undefined.is_leaf(); });
  refused("grad", [&] { undefined.grad(); });
  refused("set_grad", [&] { undefined.set_grad(defined); });
  refused("detach", [&] { undefined.detach(); });
  refused("version", [&] { undefined.version(); });
  refused("shares_storage_with", [&] { undefined.shares_storage_with(defined); });
  refused("shares_storage_with", [&] { defined.shares_storage_with(undefined); });
}

TEST(TensorUndefined, CallsThatReadAreNamedToo) {
  const Tensor undefined;
  const auto refused = [](const std::string& name, const auto& call) {
    expect_error(ErrorKind::kArgument, {name + ": the tensor is undefined"}, call);
  };
  refused("dim", [&] { undefined.dim(0); });
  refused("rank", [&] { undefined.rank(); });
  refused("numel", [&] { undefined.numel(); });
  refused("item", [&] { undefined.item<float>(); });
  refused("to_vector", [&] { undefined.to_vector<float>(); });
}

}  // namespace

}  // namespace wick
