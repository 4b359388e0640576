#include "wick/io/jsonl.hpp"

#include <gtest/gtest.h>

#include "harness/expect_error.hpp"
#include "io/io_support.hpp"

namespace wick::test {

namespace {

struct Expected {
  std::string text;
  std::uint64_t offset;
};

void check_lines(const std::string& content, const std::vector<Expected>& expected) {
  const TempFolder folder;
  LineReader reader(folder.write("lines", content));
  std::int64_t number = 0;
  for (const Expected& line : expected) {
    const auto got = reader.next();
    ASSERT_TRUE(got.has_value()) << line.text;
    EXPECT_EQ(got->text, line.text);
    EXPECT_EQ(got->offset, line.offset);
    EXPECT_EQ(got->number, ++number);
  }
  EXPECT_FALSE(reader.next().has_value());
  EXPECT_FALSE(reader.next().has_value());
}

TEST(LineReader, Lines) {
  check_lines("", {});
  check_lines("a", {{"a", 0}});
  check_lines("a\n", {{"a", 0}});
  check_lines("a\nbc\n", {{"a", 0}, {"bc", 2}});
  check_lines("a\n\nb", {{"a", 0}, {"", 2}, {"b", 3}});
  check_lines("\n", {{"", 0}});
}

TEST(LineReader, EndsOfOtherSystems) {
  check_lines("a\r\nb\r\n", {{"a", 0}, {"b", 3}});
  // Only before a line's end is it part of it.
  check_lines("a\rb\nc\r", {{"a\rb", 0}, {"c\r", 4}});
}

TEST(LineReader, AByteOrderMarkIsSkipped) {
  check_lines("\xEF\xBB\xBF{}\n\xEF\xBB\xBFx", {{"{}", 3}, {"\xEF\xBB\xBFx", 6}});
  check_lines("\xEF\xBB\xBF", {});
}

TEST(LineReader, BytesOfAnyKind) {
  check_lines(std::string("a\0b\n\xFF", 5), {{std::string("a\0b", 3), 0}, {"\xFF", 4}});
}

TEST(LineReader, ManyLines) {
  const TempFolder folder;
  constexpr std::int64_t kLines = 1'000'000;
  std::string content;
  for (std::int64_t i = 1; i <= kLines; ++i) content += std::to_string(i) + "\n";
  LineReader reader(folder.write("lines", content));
  LineReader moved = std::move(reader);
  std::int64_t count = 0;
  while (const auto line = moved.next()) {
    ++count;
    ASSERT_EQ(line->text, std::to_string(count));
    ASSERT_EQ(line->number, count);
  }
  EXPECT_EQ(count, kLines);
}

TEST(LineReader, WhatIsNoFileIsRefused) {
  const TempFolder folder;
  expect_error(ErrorKind::kIo, {"absent", "No such file"},
               [&] { LineReader(folder.path() / "absent"); });
  expect_error(ErrorKind::kIo, {"folder"}, [&] { LineReader{folder.path()}; });
}

}  // namespace

}  // namespace wick::test
