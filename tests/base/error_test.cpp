#include "wick/base/error.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/check.hpp"

namespace wick {

namespace {

constexpr ErrorKind kAllKinds[] = {
    ErrorKind::kShape,       ErrorKind::kDtype,       ErrorKind::kDevice,  ErrorKind::kArgument,
    ErrorKind::kUnsupported, ErrorKind::kOutOfMemory, ErrorKind::kBackend, ErrorKind::kIo,
    ErrorKind::kParse,       ErrorKind::kInternal};

Operand weight() { return {.name = "weight", .shape = {4095}, .dtype = "f32", .device = "cuda:0"}; }

Operand activations() {
  return {.name = "x", .shape = {8, 128, 4096}, .dtype = "bf16", .device = "cuda:0"};
}

TEST(ErrorText, RuleAlone) {
  const Error error(ErrorKind::kArgument, "adamw_", "step must be at least 1, got 0");
  EXPECT_STREQ(error.what(), "adamw_: step must be at least 1, got 0");
}

TEST(ErrorText, RuleAndOneOperand) {
  const Error error(ErrorKind::kShape, "rms_norm", "weight must be [4096]", {weight()});
  EXPECT_STREQ(error.what(), "rms_norm: weight must be [4096]; got weight [4095] f32@cuda:0");
}

TEST(ErrorText, RuleAndSeveralOperandsInOrder) {
  const Error error(ErrorKind::kShape, "rms_norm",
                    "weight must be [4096] to match the last axis of x", {weight(), activations()});
  EXPECT_STREQ(error.what(),
               "rms_norm: weight must be [4096] to match the last axis of x; got weight [4095] "
               "f32@cuda:0, x [8,128,4096] bf16@cuda:0");
}

TEST(ErrorText, RuleOperandAndHint) {
  const Error error(ErrorKind::kDtype, "to_vector", "the elements are bf16, not f32",
                    {activations()}, "cast() converts");
  EXPECT_STREQ(error.what(),
               "to_vector: the elements are bf16, not f32; got x [8,128,4096] bf16@cuda:0; "
               "cast() converts");
}

TEST(ErrorText, RuleAndHintWithoutOperands) {
  const Error error(ErrorKind::kArgument, "backward", "the graph was freed", {},
                    "retain_graph keeps it");
  EXPECT_STREQ(error.what(), "backward: the graph was freed; retain_graph keeps it");
}

TEST(ErrorText, ScalarOperandHasEmptyBrackets) {
  const Operand loss{.name = "loss", .shape = {}, .dtype = "f32", .device = "cpu"};
  const Error error(ErrorKind::kShape, "backward", "bad", {loss});
  EXPECT_STREQ(error.what(), "backward: bad; got loss [] f32@cpu");
}

TEST(ErrorText, BracesInTheRuleAreNotAFormat) {
  const Error error(ErrorKind::kParse, "parse", "expected {0} or {}", {}, "see {name}");
  EXPECT_STREQ(error.what(), "parse: expected {0} or {}; see {name}");
}

TEST(ErrorText, NegativeAndHugeSizesAreWrittenOut) {
  const Operand x{.name = "x", .shape = {-1, INT64_MAX}, .dtype = "u8", .device = "null"};
  const Error error(ErrorKind::kShape, "op", "bad", {x});
  EXPECT_STREQ(error.what(), "op: bad; got x [-1,9223372036854775807] u8@null");
}

TEST(ErrorFields, AreKeptAsGiven) {
  const Error error(ErrorKind::kShape, "rms_norm", "the rule", {weight(), activations()},
                    "the hint");
  EXPECT_EQ(error.kind(), ErrorKind::kShape);
  EXPECT_EQ(error.op(), "rms_norm");
  EXPECT_EQ(error.rule(), "the rule");
  EXPECT_EQ(error.hint(), "the hint");
  ASSERT_EQ(error.operands().size(), 2U);
  EXPECT_EQ(error.operands()[0].name, "weight");
  EXPECT_EQ(error.operands()[0].shape, (std::vector<std::int64_t>{4095}));
  EXPECT_EQ(error.operands()[0].dtype, "f32");
  EXPECT_EQ(error.operands()[0].device, "cuda:0");
  EXPECT_EQ(error.operands()[1].name, "x");
  EXPECT_EQ(error.operands()[1].shape, (std::vector<std::int64_t>{8, 128, 4096}));
}

TEST(ErrorFields, AreEmptyByDefault) {
  const Error error(ErrorKind::kIo, "read", "the file is gone");
  EXPECT_TRUE(error.operands().empty());
  EXPECT_TRUE(error.hint().empty());
}

TEST(ErrorFields, SurviveThrowingCatchingAndCopying) {
  static_assert(std::is_base_of_v<std::exception, Error>);
  static_assert(std::is_nothrow_move_constructible_v<Error>);
  std::string text;
  try {
    throw Error(ErrorKind::kBackend, "matmul", "the queue failed", {weight()}, "try again");
  } catch (const std::exception& caught) {
    const auto copy = dynamic_cast<const Error&>(caught);
    text = copy.what();
    EXPECT_EQ(copy.kind(), ErrorKind::kBackend);
    EXPECT_EQ(copy.operands().size(), 1U);
  }
  EXPECT_EQ(text, "matmul: the queue failed; got weight [4095] f32@cuda:0; try again");
}

TEST(ErrorKindName, EachKindHasItsOwn) {
  std::set<std::string_view> names;
  for (const ErrorKind kind : kAllKinds) {
    const std::string_view name = to_string(kind);
    EXPECT_FALSE(name.empty());
    EXPECT_NE(name, "unknown");
    names.insert(name);
  }
  EXPECT_EQ(names.size(), std::size(kAllKinds));
  EXPECT_EQ(to_string(ErrorKind::kShape), "shape");
  EXPECT_EQ(to_string(ErrorKind::kOutOfMemory), "out of memory");
  EXPECT_EQ(to_string(ErrorKind::kInternal), "internal");
}

TEST(Check, PassesInSilence) { EXPECT_NO_THROW(detail::check(true, "never said")); }

TEST(Check, ThrowsInternalWithThePlace) {
  const int line = __LINE__ + 2;
  try {
    detail::check(false, "the table is full");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInternal);
    const std::string text = error.what();
    EXPECT_NE(text.find("the table is full"), std::string::npos) << text;
    EXPECT_NE(text.find("error_test.cpp:" + std::to_string(line)), std::string::npos) << text;
  }
}

}  // namespace

}  // namespace wick
