// Every rule of the format, one broken at a time.
#include <gtest/gtest.h>

#include <random>
#include <span>

#include "harness/expect_error.hpp"
#include "io/io_support.hpp"
#include "io/safetensors_dtypes.hpp"
#include "io/safetensors_header.hpp"

namespace wick::test {

namespace {

detail::SafetensorsHeader parse(std::string_view file) {
  return detail::parse_safetensors_header(std::as_bytes(std::span(file)), "some.safetensors");
}

void refused(const std::string& file, const std::vector<std::string>& parts) {
  std::vector<std::string> all{"some.safetensors"};
  all.insert(all.end(), parts.begin(), parts.end());
  expect_error(ErrorKind::kParse, all, [&] { parse(file); });
}

// One tensor "w" with these fields.
std::string with_tensor(std::string_view fields, std::string_view data = {}) {
  return safetensors("{\"w\":{" + std::string(fields) + "}}", data);
}

TEST(SafetensorsHeader, ReadsTensorsAndMetadata) {
  const std::string header =
      R"({"__metadata__":{"format":"pt","note":"\u00e9"},"b":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
      R"("a":{"dtype":"BF16","shape":[3],"data_offsets":[8,14]}}   )";
  const auto result = parse(safetensors(header, std::string(14, 'x')));
  EXPECT_EQ(result.metadata,
            (std::map<std::string, std::string>{{"format", "pt"}, {"note", "\u00E9"}}));
  ASSERT_EQ(result.tensors.size(), 2U);
  const TensorInfo& b = result.tensors.find("b")->second;
  EXPECT_EQ(b.dtype, "F32");
  EXPECT_EQ(b.shape, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(b.offset, 8 + header.size());
  EXPECT_EQ(b.num_bytes, 8U);
  const TensorInfo& a = result.tensors.find("a")->second;
  EXPECT_EQ(a.offset, 16 + header.size());
  EXPECT_EQ(a.num_bytes, 6U);
}

TEST(SafetensorsHeader, NothingScalarAndEmptyAreLegal) {
  EXPECT_TRUE(parse(safetensors("{}")).tensors.empty());
  const auto result = parse(safetensors(
      R"({"empty":{"dtype":"F32","shape":[0,5],"data_offsets":[4,4]},"also":{"dtype":"I64","shape":[0],"data_offsets":[0,0]},)"
      R"("scalar":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})",
      "abcd"));
  EXPECT_EQ(result.tensors.find("empty")->second.num_bytes, 0U);
  EXPECT_EQ(result.tensors.find("scalar")->second.num_bytes, 4U);
  EXPECT_TRUE(result.tensors.find("scalar")->second.shape.empty());
}

TEST(SafetensorsHeader, KnowsTheSizeOfEveryDtype) {
  const std::vector<std::pair<std::string, int>> bits{
      {"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
      {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
      {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
      {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
      {"I64", 64},        {"U64", 64}};
  for (const auto& [dtype, size] : bits) {
    const std::string data(static_cast<std::size_t>(size), '\0');  // eight elements
    const std::string fields =
        R"("dtype":")" + dtype + R"(","shape":[8],"data_offsets":[0,)" + std::to_string(size) + "]";
    EXPECT_EQ(parse(with_tensor(fields, data)).tensors.find("w")->second.dtype, dtype);
  }
  refused(with_tensor(R"("dtype":"F4","shape":[3],"data_offsets":[0,2])", "ab"), {"\"w\"", "bits"});
  refused(with_tensor(R"("dtype":"F33","shape":[1],"data_offsets":[0,4])", "abcd"),
          {"\"w\"", "\"F33\""});
}

TEST(SafetensorsHeader, TheLengthOfTheHeader) {
  refused("", {"0 bytes"});
  refused("1234567", {"7 bytes"});
  refused(little_endian(3) + "{}", {"length is 3", "only 2 bytes"});
  refused(little_endian(100'000'001) + "{}", {"100000001", "100000000"});
  refused(little_endian(std::uint64_t{1} << 60) + "{}", {"1152921504606846976"});
  refused(little_endian(~std::uint64_t{0}) + "{}", {"18446744073709551615"});
  refused(little_endian(0), {"byte 8"});
  refused(safetensors(" {}"), {"byte 8"});
  refused(safetensors("[]"), {"byte 8"});
}

TEST(SafetensorsHeader, OtherFormatsAreNamed) {
  refused(std::string("PK\x03\x04") + std::string(100, 'z'), {"PyTorch"});
  refused("GGUF" + std::string(100, '\x01'), {"GGUF"});
  refused("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", {"Git LFS"});
}

TEST(SafetensorsHeader, BrokenJson) {
  refused(safetensors("{"), {"byte 9"});
  refused(safetensors("{}x"), {"byte 10"});
  refused(safetensors("{\"a\":nul}"), {"byte"});
  refused(safetensors("{\"\xFF\":1}"), {"byte"});
  refused(safetensors(std::string("{}\0\0", 4)), {"byte 10", "zero byte"});
  refused(safetensors("{\"w\":{\"dtype\":\"F32\",}}"), {"byte"});
}

TEST(SafetensorsHeader, DepthIsLimited) {
  std::string lists = R"({"w":{"extra":)";
  refused(safetensors(lists + std::string(10'000, '[')), {"deep"});
  std::string objects;
  for (int i = 0; i < 10'000; ++i) objects += R"({"a":)";
  refused(safetensors(objects), {"deep"});
  refused(safetensors(lists + objects), {"deep"});
}

TEST(SafetensorsHeader, NoKeyTwice) {
  const std::string entry = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  refused(safetensors(R"({"w":)" + entry + R"(,"w":)" + entry + "}", "x"), {"\"w\"", "twice"});
  refused(with_tensor(R"("dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1])", "x"),
          {"\"dtype\"", "twice"});
  refused(with_tensor(R"("dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1])", "x"),
          {"\"shape\"", "twice"});
  refused(with_tensor(R"("dtype":"U8","shape":[1],"data_offsets":[0,1],"data_offsets":[0,1])", "x"),
          {"\"data_offsets\"", "twice"});
  refused(safetensors(R"({"__metadata__":{},"__metadata__":{}})"), {"__metadata__", "twice"});
  refused(safetensors(R"({"__metadata__":{"a":"1","a":"2"}})"), {"\"a\"", "twice"});
  // The same name in two spellings.
  refused(safetensors(R"({"w":)" + entry + R"(,"\u0077":)" + entry + "}", "x"), {"\"w\"", "twice"});
}

TEST(SafetensorsHeader, FieldsOfTheWrongType) {
  refused(safetensors(R"({"w":3})"), {"\"w\"", "must be an object", "3"});
  refused(safetensors(R"({"w":[]})"), {"\"w\"", "must be an object"});
  refused(safetensors(R"({"w":null})"), {"\"w\"", "must be an object", "null"});
  refused(safetensors(R"({"__metadata__":3})"), {"__metadata__", "must be an object"});
  refused(safetensors(R"({"__metadata__":{"a":1}})"), {"__metadata__", "\"a\"", "string"});
  refused(safetensors(R"({"__metadata__":{"a":{}}})"), {"__metadata__", "\"a\"", "string"});
  const std::string tail = R"(,"shape":[1],"data_offsets":[0,1])";
  refused(with_tensor(R"("dtype":8)" + tail), {"\"w\"", "dtype must be a string"});
  refused(with_tensor(R"("dtype":{})" + tail), {"\"w\"", "dtype must be a string"});
  refused(with_tensor(R"("dtype":"U8","shape":1,"data_offsets":[0,1])"), {"shape must be a list"});
  refused(with_tensor(R"("dtype":"U8","shape":["1"],"data_offsets":[0,1])"), {"size", "\"1\""});
  refused(with_tensor(R"("dtype":"U8","shape":[[1]],"data_offsets":[0,1])"), {"size", "a list"});
  refused(with_tensor(R"("dtype":"U8","shape":[1],"data_offsets":{})"),
          {"data_offsets must be a list"});
  refused(with_tensor(R"("dtype":"U8","shape":[1],"data_offsets":[0])", "x"), {"two numbers"});
  refused(with_tensor(R"("dtype":"U8","shape":[1],"data_offsets":[0,1,2])", "x"),
          {"more than two"});
}

TEST(SafetensorsHeader, MissingFields) {
  refused(with_tensor(""), {"\"w\"", "dtype is missing"});
  refused(with_tensor(R"("dtype":"U8","data_offsets":[0,1])", "x"), {"\"w\"", "shape is missing"});
  refused(with_tensor(R"("dtype":"U8","shape":[1])", "x"), {"\"w\"", "data_offsets is missing"});
}

TEST(SafetensorsHeader, FieldsThatNobodyKnowsAreIgnored) {
  const auto result = parse(with_tensor(
      R"("dtype":"U8","extra":{"deep":[1,{"dtype":2}],"shape":[3]},"shape":[1],"n":null,"data_offsets":[0,1],"x":[1.5])",
      "x"));
  EXPECT_EQ(result.tensors.find("w")->second.shape, std::vector<std::int64_t>{1});
}

TEST(SafetensorsHeader, SizesThatAreNone) {
  refused(with_tensor(R"("dtype":"U8","shape":[-1],"data_offsets":[0,1])", "x"), {"size", "-1"});
  refused(with_tensor(R"("dtype":"U8","shape":[1.5],"data_offsets":[0,1])", "x"), {"size", "1.5"});
  refused(with_tensor(R"("dtype":"U8","shape":[1],"data_offsets":[-1,1])", "x"), {"offset", "-1"});
  refused(with_tensor(R"("dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1])", "x"),
          {"size"});
  refused(with_tensor(R"("dtype":"U8","shape":[1],"data_offsets":[0,18446744073709551616])", "x"),
          {"offset"});
}

TEST(SafetensorsHeader, Overflow) {
  refused(
      with_tensor(R"("dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,4])", "abcd"),
      {"\"w\"", "overflow"});
  refused(with_tensor(R"("dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0])"),
          {"\"w\"", "overflow"});
  // 2^61 elements of 8 bits: wraps to 0 when multiplied in 64 bits.
  refused(with_tensor(R"("dtype":"U8","shape":[2305843009213693952],"data_offsets":[0,0])"),
          {"\"w\"", "overflow"});
  refused(with_tensor(R"("dtype":"U8","shape":[1],"data_offsets":[18446744073709551615,0])"),
          {"\"w\"", "data_offsets"});
  std::string ones = "1";
  for (int i = 0; i < 64; ++i) ones += ",1";
  refused(with_tensor(R"("dtype":"U8","shape":[)" + ones + R"(],"data_offsets":[0,1])", "x"),
          {"dimensions"});
}

TEST(SafetensorsHeader, BytesMustMatchDtypeAndShape) {
  refused(with_tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])", "abcd"),
          {"\"w\"", "F32 [2] needs 8 bytes", "[0,4] give 4"});
  refused(with_tensor(R"("dtype":"F16","shape":[2,2],"data_offsets":[0,16])", std::string(16, 'x')),
          {"\"w\"", "needs 8 bytes"});
  refused(with_tensor(R"("dtype":"F32","shape":[],"data_offsets":[0,0])"), {"needs 4 bytes"});
}

TEST(SafetensorsHeader, BytesMustLieInTheFile) {
  refused(with_tensor(R"("dtype":"U8","shape":[4],"data_offsets":[0,4])", "abc"),
          {"\"w\"", "3 bytes", "cut short"});
  refused(with_tensor(R"("dtype":"U8","shape":[1],"data_offsets":[2,1])", "abc"),
          {"\"w\"", "[2,1]"});
  refused(
      with_tensor(
          R"("dtype":"U8","shape":[1],"data_offsets":[1152921504606846976,1152921504606846977])",
          "a"),
      {"\"w\"", "do not lie within"});
}

std::string two_tensors(int begin_a, int end_a, int begin_b, int end_b, std::size_t data) {
  const auto entry = [](const char* name, int begin, int end) {
    return "\"" + std::string(name) + R"(":{"dtype":"U8","shape":[)" + std::to_string(end - begin) +
           R"(],"data_offsets":[)" + std::to_string(begin) + "," + std::to_string(end) + "]}";
  };
  return safetensors("{" + entry("a", begin_a, end_a) + "," + entry("b", begin_b, end_b) + "}",
                     std::string(data, 'x'));
}

TEST(SafetensorsHeader, NoHoleNoOverlapNothingBehind) {
  EXPECT_EQ(parse(two_tensors(4, 8, 0, 4, 8)).tensors.size(), 2U);
  refused(two_tensors(0, 4, 5, 8, 8), {"\"b\"", "hole"});
  refused(two_tensors(1, 4, 4, 8, 8), {"\"a\"", "hole"});
  refused(two_tensors(0, 4, 3, 8, 8), {"\"b\"", "overlap"});
  refused(two_tensors(0, 4, 0, 4, 4), {"overlap"});
  refused(two_tensors(0, 8, 2, 4, 8), {"\"b\"", "overlap"});
  refused(two_tensors(0, 4, 4, 8, 9), {"end after 8 bytes", "the file has 9"});
  refused(safetensors("{}", "x"), {"end after 0 bytes", "the file has 1"});
  // An empty tensor inside another one's bytes.
  refused(two_tensors(0, 8, 4, 4, 8), {"\"b\"", "overlap"});
}

TEST(SafetensorsHeader, NamesInMessagesArePrintable) {
  refused(safetensors(R"({"\u0007\u001b[31m":3})"), {R"(\x07\x1B[31m)"});
  refused(safetensors("{\"" + std::string(5000, 'n') + "\":3}"), {"nnn…"});
}

TEST(SafetensorsHeader, AnythingCutShortOrFlippedIsAnErrorOrAHeader) {
  const std::string whole = safetensors(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
      R"("a":{"dtype":"BF16","shape":[3],"data_offsets":[8,14]}})",
      std::string(14, 'x'));
  for (std::size_t size = 0; size < whole.size(); ++size) refused(whole.substr(0, size), {});
  std::mt19937 random(5);
  int refusals = 0;
  for (int i = 0; i < 5000; ++i) {
    std::string changed = whole;
    changed[random() % changed.size()] ^= static_cast<char>(1U << (random() % 8));
    try {
      for (const auto& [name, info] : parse(changed).tensors) {
        EXPECT_LE(info.offset + info.num_bytes, changed.size());
      }
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kParse);
      ++refusals;
    }
  }
  EXPECT_GT(refusals, 1000);
}

}  // namespace

}  // namespace wick::test
