#include "wick/layout/device.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "layout/tensor_view.hpp"
#include "layout/view_cast.hpp"
#include "wick/base/error.hpp"
#include "wick/layout/dtype.hpp"

namespace wick {

namespace {

TEST(Device, IsWrittenAsPeopleSayIt) {
  EXPECT_EQ(to_string(kCpuDevice), "cpu");
  EXPECT_EQ(to_string(kNullDevice), "null");
  EXPECT_EQ(to_string(Device{DeviceType::kMps, 0}), "mps");
  EXPECT_EQ(to_string(Device{DeviceType::kCuda, 0}), "cuda:0");
  EXPECT_EQ(to_string(Device{DeviceType::kCuda, 3}), "cuda:3");
}

TEST(Device, IsReadBack) {
  for (const DeviceType type :
       {DeviceType::kCpu, DeviceType::kNull, DeviceType::kCuda, DeviceType::kMps}) {
    for (const int index : {0, 1, 15}) {
      const Device device{type, index};
      EXPECT_EQ(parse_device(to_string(device)), device) << to_string(device);
    }
  }
}

TEST(Device, TheIndexMayBeLeftOut) {
  EXPECT_EQ(parse_device("cpu"), kCpuDevice);
  EXPECT_EQ(parse_device("cuda"), (Device{DeviceType::kCuda, 0}));
  EXPECT_EQ(parse_device("cuda:1"), (Device{DeviceType::kCuda, 1}));
  EXPECT_EQ(parse_device("mps"), (Device{DeviceType::kMps, 0}));
}

TEST(Device, OtherTextIsRefusedAndNamed) {
  for (const std::string text :
       {"", "gpu", "CPU", "cud", "cudaa", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda: 1",
        "cuda:1:2", ":0", " cpu", "cpu ", "cuda:99999999999999999999"}) {
    try {
      parse_device(text);
      ADD_FAILURE() << "\"" << text << "\" was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kArgument);
      EXPECT_EQ(error.op(), "parse_device");
      EXPECT_NE(std::string(error.what()).find("\"" + text + "\""), std::string::npos)
          << error.what();
    }
  }
}

TEST(Device, EqualMeansTypeAndIndex) {
  EXPECT_EQ(Device(), kCpuDevice);
  EXPECT_NE(kCpuDevice, kNullDevice);
  EXPECT_NE((Device{DeviceType::kCuda, 0}), (Device{DeviceType::kCuda, 1}));
}

TEST(DType, EachHasANameAndASize) {
  std::set<std::string_view> names;
  for (const DType dtype : kAllDTypes) {
    names.insert(to_string(dtype));
    EXPECT_GT(size_of(dtype), 0U);
    EXPECT_LE(size_of(dtype), 8U);
  }
  EXPECT_EQ(names, (std::set<std::string_view>{"f32", "f16", "bf16", "i32", "i64", "u8", "bool"}));
}

TEST(DType, SizesAreThoseOfTheElementTypes) {
  EXPECT_EQ(size_of(DTypeOf<float>::value), sizeof(float));
  EXPECT_EQ(size_of(DTypeOf<Half>::value), sizeof(Half));
  EXPECT_EQ(size_of(DTypeOf<BFloat16>::value), sizeof(BFloat16));
  EXPECT_EQ(size_of(DTypeOf<std::int32_t>::value), sizeof(std::int32_t));
  EXPECT_EQ(size_of(DTypeOf<std::int64_t>::value), sizeof(std::int64_t));
  EXPECT_EQ(size_of(DTypeOf<std::uint8_t>::value), sizeof(std::uint8_t));
  EXPECT_EQ(size_of(DTypeOf<bool>::value), sizeof(bool));
}

TEST(DType, FloatingOnes) {
  for (const DType dtype : kAllDTypes) {
    const bool wanted = dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
    EXPECT_EQ(is_floating(dtype), wanted) << to_string(dtype);
  }
}

TEST(ViewCast, GivesTheAddressWhenTheDtypeFits) {
  float value = 4;
  const TensorView view{.data = &value, .dtype = DType::kF32, .shape = {}, .present = true};
  EXPECT_EQ(data_as<float>(view), &value);
  EXPECT_EQ(data_as<const float>(view), &value);
}

TEST(ViewCast, RefusesAnotherDtype) {
  float value = 4;
  const TensorView view{.data = &value, .dtype = DType::kF32, .shape = {}, .present = true};
  try {
    data_as<std::int32_t>(view);
    FAIL() << "an i32 address of f32 memory was given";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInternal);
  }
}

TEST(TensorView, IsAbsentUnlessMadePresent) {
  EXPECT_FALSE(static_cast<bool>(TensorView()));
  EXPECT_TRUE(static_cast<bool>(TensorView{.shape = {0}, .present = true}));
}

}  // namespace

}  // namespace wick
