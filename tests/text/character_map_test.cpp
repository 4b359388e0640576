// SentencePiece's compiled rules, built here with a trie of our own in the same layout.
#include <gtest/gtest.h>

#include <map>

#include "harness/expect_error.hpp"
#include "text/character_map.hpp"
#include "text/components.hpp"
#include "text/tokenizer_support.hpp"

namespace wick::test {

namespace {

using Rules = std::map<std::string, std::string>;

// A double array as Darts-clone lays it out: every node has a block of 256 places of its own, so offsets need no search.
class TrieBuilder {
 public:
  explicit TrieBuilder(const Rules& rules) : units_(256) {
    for (const auto& [from, to] : rules) {
      if (!offsets_.contains(to)) {
        offsets_[to] = replacements_.size();
        replacements_ += to + '\0';
      }
    }
    fill(0, rules, 0);
  }

  std::string bytes() const {
    std::string bytes = little_endian(static_cast<std::uint32_t>(units_.size() * 4));
    for (const std::uint32_t unit : units_) bytes += little_endian(unit);
    return bytes + replacements_;
  }

 private:
  // The children of `node` get a block that begins at a multiple of 256; the value lies at its first place.
  void fill(std::size_t node, const Rules& rules, std::size_t depth) {
    const std::size_t block = units_.size();
    units_.resize(block + 256);
    units_[node] |= static_cast<std::uint32_t>(node ^ block) << 10;
    std::map<unsigned char, std::map<std::string, std::string>> children;
    for (const auto& [from, to] : rules) {
      if (from.size() == depth) {
        units_[node] |= 1U << 8;
        units_[block] = 0x80000000U | static_cast<std::uint32_t>(offsets_[to]);
      } else {
        children[static_cast<unsigned char>(from[depth])][from] = to;
      }
    }
    for (const auto& [byte, below] : children) {
      units_[block ^ byte] |= byte;
      fill(block ^ byte, below, depth + 1);
    }
  }

  static std::string little_endian(std::uint32_t value) {
    std::string bytes;
    for (int i = 0; i < 4; ++i) bytes += static_cast<char>((value >> (8 * i)) & 0xFF);
    return bytes;
  }

  std::vector<std::uint32_t> units_;
  std::string replacements_;
  std::map<std::string, std::size_t> offsets_;
};

std::string base64(const std::string& bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      const unsigned char byte =
          i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0;
      group = (group << 8) | byte;
    }
    for (std::size_t j = 0; j < 4; ++j) {
      text += i + j > bytes.size() ? '=' : kDigits[(group >> (18 - 6 * j)) & 63];
    }
  }
  return text;
}

detail::CharacterMap map_of(const Rules& rules) {
  return {base64(TrieBuilder(rules).bytes()), "map"};
}

TEST(CharacterMap, ReplacesSingleCharacters) {
  const auto map = map_of({{"\uFB01", "fi"}, {"\u00A0", " "}, {"\u200B", ""}, {"\t", " "}});
  EXPECT_EQ(map.normalize("\uFB01n\u00A0x\ty\u200Bz"), "fin x yz");
  EXPECT_EQ(map.normalize(""), "");
  EXPECT_EQ(map.normalize("nothing to do \U0001F600"), "nothing to do \U0001F600");
}

TEST(CharacterMap, ReplacesGraphemesOfFewBytes) {
  const auto map = map_of({{"e\u0301", "\u00E9"}});
  EXPECT_EQ(map.normalize("caf"
                          "e\u0301s"),
            "caf\u00E9s");
  EXPECT_EQ(map.normalize("e"), "e");
}

// As the reference library does it: the first rule on the way through a grapheme stands for the whole grapheme.
TEST(CharacterMap, TheShortestRuleTakesTheWholeGrapheme) {
  const auto map = map_of({{"\u00E8", "e"}, {"\u00E8\u0301", "long"}});
  EXPECT_EQ(map.normalize("\u00E8\u0301x"), "ex");
}

TEST(CharacterMap, LongGraphemesGoCharacterByCharacter) {
  const auto map = map_of({{"a", "b"}, {"\u0301", "'"}});
  EXPECT_EQ(map.normalize("a\u0301\u0301\u0301"), "b'''");
}

TEST(CharacterMap, IsAComponentOfTokenizers) {
  const json description = {
      {"type", "Precompiled"},
      {"precompiled_charsmap", base64(TrieBuilder(Rules{{"\uFF21", "A"}}).bytes())}};
  EXPECT_EQ(detail::make_normalizer(description, "n")("\uFF21 b"), "A b");
}

TEST(CharacterMap, BrokenDataIsRefused) {
  const std::string good = TrieBuilder(Rules{{"a", "b"}}).bytes();
  const auto refused = [](const std::string& text, const std::string& part) {
    expect_error(ErrorKind::kParse, {"map", part}, [&] { detail::CharacterMap(text, "map"); });
  };
  refused("abc", "base64");
  refused("ab!d", "base64 at byte 2");
  refused("", "too short");
  refused(base64("ab"), "too short");
  refused(base64(std::string(8, '\xFF')), "does not fit");
  refused(base64(std::string(4, '\0') + "x"), "does not fit");
  refused(base64(good + "\xC3"), "UTF-8");
}

TEST(CharacterMap, RulesThatLeadOutsideAreRefused) {
  std::string bytes = TrieBuilder(Rules{{"a", "b"}}).bytes();
  for (std::size_t i = 4; i + 4 <= bytes.size(); i += 4) {
    // The one leaf: its value lies far outside.
    if (static_cast<unsigned char>(bytes[i + 3]) == 0x80) bytes[i + 1] = '\x7F';
  }
  const detail::CharacterMap map(base64(bytes), "map");
  EXPECT_EQ(map.normalize("x"), "x");
  expect_error(ErrorKind::kParse, {"map", "out of the data"}, [&] { map.normalize("a"); });
}

}  // namespace

}  // namespace wick::test
