#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace wick::detail {

/// JSON with sorted keys.
using Json = nlohmann::json;

/// Parses one JSON text strictly: valid UTF-8, no key twice in one object, at most 256 levels deep, nothing after
/// the value. Throws Error kParse: `<where>: byte <n>: what was wrong`.
Json parse_json(std::string_view text, std::string_view where);

/// Keys of the object that is the top object's `member`, in the order of the text (Json itself sorts them); empty when
/// there is no such object. `text` must be one that parse_json() takes.
std::vector<std::string> keys_in_order(std::string_view text, std::string_view member);

/// Reads and parses a file. Throws Error kIo when it cannot be read, kParse as above.
Json read_json_file(const std::filesystem::path& path);

/// A file's whole content. Throws Error kIo with the path and the system's reason, and for more than 1 GiB.
std::string read_text_file(const std::filesystem::path& path);

/// Pretty-printed JSON with a final newline. A float stays a float ("1.0"), text is kept as UTF-8. Throws Error
/// kArgument for text that is no UTF-8 and for a number that is not finite: JSON can hold neither.
std::string to_text(const Json& json, int indent = 2);

/// A value as it is named in messages: `"text"`, `12`, `true`, `null`, or `a list`, `an object` where it is longer.
std::string describe(const Json& json);

/// Reads the fields of one object by name, with errors that say where: `config.json: hidden_size: must be a
/// positive integer, got "64"`. Every getter throws Error kParse for a value of the wrong type. An integer is
/// accepted where a number is asked for; a float with an integral value where an integer is asked for is not.
class JsonFields {
 public:
  /// `json` must outlive this. Throws kParse when it is not an object.
  JsonFields(const Json& json, std::string where);

  /// The value of a key, or nullptr when the key is absent or null.
  const Json* find(std::string_view key) const;
  /// Throws kParse, naming the key, when it is absent or null.
  const Json& require(std::string_view key) const;

  std::int64_t integer(std::string_view key) const;
  std::int64_t integer(std::string_view key, std::int64_t otherwise) const;
  /// As integer(), and at least 1.
  std::int64_t positive(std::string_view key) const;
  std::int64_t positive(std::string_view key, std::int64_t otherwise) const;
  double number(std::string_view key) const;
  double number(std::string_view key, double otherwise) const;
  bool boolean(std::string_view key, bool otherwise) const;
  std::string string(std::string_view key) const;
  std::string string(std::string_view key, std::string otherwise) const;

  /// Throws kParse: `<where>: <key>: <problem>`.
  [[noreturn]] void fail(std::string_view key, std::string_view problem) const;
  const std::string& where() const noexcept { return where_; }

 private:
  const Json& json_;
  std::string where_;
};

}  // namespace wick::detail
