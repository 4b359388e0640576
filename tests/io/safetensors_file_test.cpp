// Tensors over the pages of a file.
#include <gtest/gtest.h>

#include <fstream>

#include "harness/expect_error.hpp"
#include "io/io_support.hpp"
#include "wick/base/float16.hpp"
#include "wick/io/safetensors.hpp"
#include "wick/runtime/memory.hpp"

namespace wick::test {

namespace {

std::string one_tensor(const std::string& dtype, const std::string& shape,
                       const std::string& data) {
  return safetensors(R"({"w":{"dtype":")" + dtype + R"(","shape":)" + shape +
                         R"(,"data_offsets":[0,)" + std::to_string(data.size()) + "]}}",
                     data);
}

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span<const T>(values));
  std::string text;
  for (const std::byte b : bytes) text += static_cast<char>(b);
  return text;
}

TEST(SafetensorsFile, ReadsEveryDtypeThatThereAreTensorsOf) {
  const TempFolder folder;
  const auto open = [&](const std::string& dtype, const std::string& data) {
    return SafetensorsFile::open(folder.write(dtype, one_tensor(dtype, "[2]", data))).tensor("w");
  };
  EXPECT_EQ(open("F32", bytes_of<float>({1.5F, -2})).to_vector<float>(),
            (std::vector<float>{1.5F, -2}));
  EXPECT_EQ(open("I32", bytes_of<std::int32_t>({7, -8})).to_vector<std::int32_t>(),
            (std::vector<std::int32_t>{7, -8}));
  EXPECT_EQ(open("I64", bytes_of<std::int64_t>({7, -8})).to_vector<std::int64_t>(),
            (std::vector<std::int64_t>{7, -8}));
  EXPECT_EQ(open("U8", "\x01\xFF").to_vector<std::uint8_t>(), (std::vector<std::uint8_t>{1, 255}));
  const Tensor flags = open("BOOL", std::string("\x01\x00", 2));
  EXPECT_EQ(flags.dtype(), DType::kBool);
  EXPECT_EQ(flags.to_vector<std::uint8_t>(), (std::vector<std::uint8_t>{1, 0}));
  EXPECT_EQ(open("F16", std::string("\x00\x3C\x00\xC0", 4)).dtype(), DType::kF16);
  const auto bf16 = open("BF16", std::string("\x80\x3F\x00\xC0", 4)).to_vector<BFloat16>();
  EXPECT_EQ(static_cast<float>(bf16[0]), 1.0F);
  EXPECT_EQ(static_cast<float>(bf16[1]), -2.0F);
}

TEST(SafetensorsFile, ScalarsAndEmptyTensors) {
  const TempFolder folder;
  const Tensor scalar =
      SafetensorsFile::open(folder.write("s", one_tensor("F32", "[]", bytes_of<float>({4}))))
          .tensor("w");
  EXPECT_EQ(scalar.rank(), 0);
  EXPECT_EQ(scalar.item<float>(), 4);
  const Tensor empty =
      SafetensorsFile::open(folder.write("e", one_tensor("F32", "[3,0]", ""))).tensor("w");
  EXPECT_EQ(empty.shape(), (Shape{3, 0}));
  EXPECT_TRUE(empty.to_vector<float>().empty());
}

TEST(SafetensorsFile, BoolsMustBeZeroOrOne) {
  const TempFolder folder;
  const auto file = SafetensorsFile::open(
      folder.write("f", one_tensor("BOOL", "[3]", std::string("\x00\x01\x02", 3))));
  expect_error(ErrorKind::kParse, {"\"w\"", "element 2 is 2", "BOOL"}, [&] { file.tensor("w"); });
}

TEST(SafetensorsFile, WhatThereIsNoTensorOfIsRefusedWhenItIsAskedFor) {
  const TempFolder folder;
  const auto f64 =
      SafetensorsFile::open(folder.write("d", one_tensor("F64", "[1]", std::string(8, '\0'))));
  EXPECT_EQ(f64.tensors().find("w")->second.dtype, "F64");
  expect_error(ErrorKind::kUnsupported, {"\"w\"", "F64"}, [&] { f64.tensor("w"); });
  const auto deep =
      SafetensorsFile::open(folder.write("r", one_tensor("U8", "[1,1,1,1,1,1,1]", "x")));
  expect_error(ErrorKind::kUnsupported, {"\"w\"", "7 dimensions"}, [&] { deep.tensor("w"); });
  expect_error(ErrorKind::kArgument, {"r", "\"nothing\""}, [&] { deep.tensor("nothing"); });
  EXPECT_FALSE(deep.contains("nothing"));
  EXPECT_TRUE(deep.contains("w"));
}

TEST(SafetensorsFile, TensorsShareThePagesAndKeepThem) {
  const TempFolder folder;
  const std::vector<float> values(4096, 2.5F);
  const auto path = folder.write("f", one_tensor("F32", "[4096]", bytes_of(values)));
  const std::int64_t before = memory_stats(kCpuDevice).num_allocations;
  Tensor tensor;
  {
    const SafetensorsFile file = SafetensorsFile::open(path);
    tensor = file.tensor("w");
  }
  EXPECT_EQ(memory_stats(kCpuDevice).num_allocations, before);
  std::filesystem::remove(path);
  EXPECT_EQ(tensor.to_vector<float>(), values);
}

std::int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::int64_t total = 0;
  std::int64_t resident = 0;
  file >> total >> resident;
  EXPECT_TRUE(file.good());
  return resident * ::sysconf(_SC_PAGESIZE);
}

TEST(SafetensorsFile, LargeFilesTakeNoMemory) {
  constexpr std::uint64_t kBytes = std::uint64_t{3} << 30;
  const TempFolder folder;
  const std::string header = R"({"w":{"dtype":"F32","shape":[)" + std::to_string(kBytes / 4) +
                             R"(],"data_offsets":[0,)" + std::to_string(kBytes) + "]}}";
  const auto path = folder.write("f", safetensors(header));
  // A hole in the file, which takes no room on the disk.
  std::filesystem::resize_file(path, 8 + header.size() + kBytes);
  const std::int64_t before = resident_bytes();
  const Tensor tensor = SafetensorsFile::open(path).tensor("w");
  EXPECT_EQ(tensor.numel(), static_cast<std::int64_t>(kBytes / 4));
  EXPECT_LT(resident_bytes() - before, std::int64_t{64} << 20);
}

TEST(SafetensorsFile, WhatIsNoFileIsRefused) {
  const TempFolder folder;
  const auto refused = [&](const std::string& path, const std::string& part) {
    expect_error(ErrorKind::kIo, {path, part}, [&] { SafetensorsFile::open(path); });
  };
  refused((folder.path() / "absent").string(), "No such file");
  refused(folder.path().string(), "folder");
  refused("/dev/null", "not an ordinary file");
  refused("", "No such file");
  expect_error(ErrorKind::kParse, {"empty", "0 bytes"},
               [&] { SafetensorsFile::open(folder.write("empty", "")); });
}

}  // namespace

}  // namespace wick::test
