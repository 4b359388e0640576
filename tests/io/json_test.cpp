// JSON as every file here is read and written.
#include "base/json.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "base/quote.hpp"
#include "harness/expect_error.hpp"
#include "io/io_support.hpp"

namespace wick::test {

namespace {

using detail::Json;

void refused(std::string_view text, const std::vector<std::string>& parts) {
  std::vector<std::string> all{"some.json"};
  all.insert(all.end(), parts.begin(), parts.end());
  expect_error(ErrorKind::kParse, all, [&] { detail::parse_json(text, "some.json"); });
}

TEST(Json, ValuesOfEveryKind) {
  const Json json = detail::parse_json(
      R"( {"n":null,"b":[true,false],"i":-3,"u":18446744073709551615,"f":1.5e3,"s":"\u00e9\ud83d\ude00","o":{"a":{}}} )",
      "x");
  EXPECT_EQ(json["b"], (Json{true, false}));
  EXPECT_EQ(json["i"], -3);
  EXPECT_EQ(json["u"], std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(json["f"], 1500.0);
  EXPECT_EQ(json["s"], "\u00E9\U0001F600");
  EXPECT_TRUE(json["n"].is_null());
  EXPECT_EQ(detail::parse_json("3", "x"), 3);
}

TEST(Json, WhatIsNoJson) {
  refused("", {"byte 0"});
  refused("{", {"byte 1"});
  refused("{\"a\":1,}", {"byte 7"});
  refused("[1 2]", {"byte 3"});
  refused("nul", {"byte"});
  refused("1 2", {"byte 2"});
  refused("'a'", {"byte 0"});
  refused("{\"a\":NaN}", {"byte 5"});
  refused("// c\n1", {"byte 0"});
  refused("\"a\nb\"", {"byte 2"});
  refused("\"\xC3\"", {"byte 2"});
  refused("\"\\ud83d\"", {"byte"});
  refused("1e999", {"byte"});
  refused(std::string_view("\0", 1), {"byte 0", "zero byte"});
  refused(std::string_view("1\0", 2), {"byte 1", "zero byte"});
}

TEST(Json, NoKeyTwice) {
  refused(R"({"a":1,"a":2})", {"byte 7", "\"a\"", "twice"});
  refused(R"({"x":{"a":1,"\u0061":2}})", {"byte 12", "\"a\"", "twice"});
  refused(R"({"x\"":1,"x\"":2})", {"byte 9", "twice"});
}

TEST(Json, DepthIsLimited) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(detail::parse_json(nested(256), "x").is_array());
  refused(nested(257), {"byte 256", "deep"});
  refused(std::string(10'000, '['), {"byte 256", "deep"});
  std::string objects;
  for (int i = 0; i < 10'000; ++i) objects += "{\"a\":";
  refused(objects, {"deep"});
}

TEST(Json, KeysInTheirOrder) {
  const std::string text = R"({"first":{"z":1,"a":{"inner":2},"m":3},"weight_map":{"b":1,"a":2}})";
  EXPECT_EQ(detail::keys_in_order(text, "first"), (std::vector<std::string>{"z", "a", "m"}));
  EXPECT_EQ(detail::keys_in_order(text, "weight_map"), (std::vector<std::string>{"b", "a"}));
  EXPECT_TRUE(detail::keys_in_order(text, "absent").empty());
}

TEST(Json, Files) {
  const TempFolder folder;
  EXPECT_EQ(detail::read_json_file(folder.write("a.json", "[1]")), Json{1});
  expect_error(ErrorKind::kParse, {"b.json", "byte 1"},
               [&] { detail::read_json_file(folder.write("b.json", "[")); });
  expect_error(ErrorKind::kIo, {"absent.json", "No such file"},
               [&] { detail::read_json_file(folder.path() / "absent.json"); });
  expect_error(ErrorKind::kIo, {"folder"}, [&] { detail::read_json_file(folder.path()); });
}

TEST(Json, Writing) {
  EXPECT_EQ(detail::to_text(Json{{"b", 1.0}, {"a", "\u00E9"}}),
            "{\n  \"a\": \"\u00E9\",\n  \"b\": 1.0\n}\n");
  expect_error(ErrorKind::kArgument, {"finite"}, [] {
    detail::to_text(Json{{"a", {1.0, std::numeric_limits<double>::infinity()}}});
  });
  expect_error(ErrorKind::kArgument, {"UTF-8"}, [] { detail::to_text(Json("\xFF")); });
}

TEST(JsonFields, Getters) {
  const Json json = detail::parse_json(
      R"({"i":7,"zero":0,"big":18446744073709551615,"f":2.5,"b":true,"s":"x","n":null,"l":[1]})",
      "c.json");
  const detail::JsonFields fields(json, "c.json");
  EXPECT_EQ(fields.integer("i"), 7);
  EXPECT_EQ(fields.integer("absent", 3), 3);
  EXPECT_EQ(fields.integer("n", 3), 3);
  EXPECT_EQ(fields.positive("i"), 7);
  EXPECT_EQ(fields.number("i"), 7.0);
  EXPECT_EQ(fields.number("f"), 2.5);
  EXPECT_EQ(fields.boolean("b", false), true);
  EXPECT_EQ(fields.string("s"), "x");
  EXPECT_EQ(fields.string("absent", "y"), "y");
  const auto fails = [&](const std::vector<std::string>& parts, const auto& call) {
    expect_error(ErrorKind::kParse, parts, call);
  };
  fails({"c.json: absent: is missing"}, [&] { fields.integer("absent"); });
  fails({"c.json: n: is missing"}, [&] { fields.string("n"); });
  fails({"c.json: s", "integer", "\"x\""}, [&] { fields.integer("s"); });
  fails({"c.json: f", "integer", "2.5"}, [&] { fields.integer("f", 1); });
  fails({"c.json: big", "64 bits"}, [&] { fields.integer("big"); });
  fails({"c.json: zero", "positive", "0"}, [&] { fields.positive("zero"); });
  fails({"c.json: l", "number", "a list"}, [&] { fields.number("l"); });
  fails({"c.json: i", "true or false", "7"}, [&] { fields.boolean("i", true); });
  fails({"c.json: i", "string", "7"}, [&] { fields.string("i", ""); });
  fails({"d.json", "object", "a list"}, [&] { detail::JsonFields(json["l"], "d.json"); });
}

TEST(Quote, MessagesStayPrintable) {
  EXPECT_EQ(detail::quote("a\u00E9"), "\"a\u00E9\"");
  EXPECT_EQ(detail::quote(std::string_view("\n\x1B\x7F\0", 4)), R"("\x0A\x1B\x7F\x00")");
  EXPECT_EQ(detail::quote("a\xFF"), R"("a\xFF")");
  EXPECT_EQ(detail::quote("abcdef", 3), "\"abc…\"");
  EXPECT_EQ(detail::quote("\u4E2D\u4E2D", 4), "\"\u4E2D\u4E2D\"");
}

}  // namespace

}  // namespace wick::test
