#include "base/json.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <utility>

#include "base/file_io.hpp"
#include "base/quote.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

constexpr std::size_t kLargestTextFile = std::size_t{1} << 30;
constexpr std::size_t kReadBlock = std::size_t{1} << 16;

bool all_finite(const Json& json) {
  if (json.is_number_float()) return std::isfinite(json.get<double>());
  return !json.is_structured() || std::all_of(json.begin(), json.end(), all_finite);
}

}  // namespace

std::string read_text_file(const std::filesystem::path& path) {
  const Descriptor file(path, O_RDONLY, "cannot be read");
  struct stat status{};
  if (::fstat(file.number(), &status) == 0 && S_ISDIR(status.st_mode)) {
    throw Error(ErrorKind::kIo, path.string(), "is a folder, not a file");
  }
  std::string text;
  std::array<char, kReadBlock> block{};
  for (;;) {
    const ssize_t count = ::read(file.number(), block.data(), block.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_io(path, "cannot be read", errno);
    if (count == 0) return text;
    text.append(block.data(), static_cast<std::size_t>(count));
    if (text.size() > kLargestTextFile) {
      throw Error(ErrorKind::kIo, path.string(), "is larger than 1 GiB");
    }
  }
}

Json read_json_file(const std::filesystem::path& path) {
  return parse_json(read_text_file(path), path.string());
}

std::string to_text(const Json& json, int indent) {
  if (!all_finite(json)) {
    throw Error(ErrorKind::kArgument, "to_text", "JSON cannot hold a number that is not finite");
  }
  try {
    return json.dump(indent) + "\n";
  } catch (const Json::exception&) {
    throw Error(ErrorKind::kArgument, "to_text", "JSON cannot hold text that is not UTF-8");
  }
}

std::string describe(const Json& json) {
  if (json.is_string()) return quote(json.get_ref<const std::string&>());
  if (json.is_structured() && !json.empty()) return json.is_array() ? "a list" : "an object";
  return json.dump();
}

JsonFields::JsonFields(const Json& json, std::string where)
    : json_(json), where_(std::move(where)) {
  if (!json.is_object()) {
    throw Error(ErrorKind::kParse, where_, "must be a JSON object, got " + describe(json));
  }
}

const Json* JsonFields::find(std::string_view key) const {
  const auto found = json_.find(std::string(key));
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

const Json& JsonFields::require(std::string_view key) const {
  const Json* found = find(key);
  if (found == nullptr) fail(key, "is missing");
  return *found;
}

std::int64_t JsonFields::integer(std::string_view key) const {
  const Json& value = require(key);
  const bool fits =
      value.is_number_integer() &&
      (!value.is_number_unsigned() || value.get<std::uint64_t>() <= std::uint64_t{INT64_MAX});
  if (!fits) fail(key, "must be an integer of 64 bits, got " + describe(value));
  return value.get<std::int64_t>();
}

std::int64_t JsonFields::integer(std::string_view key, std::int64_t otherwise) const {
  return find(key) == nullptr ? otherwise : integer(key);
}

std::int64_t JsonFields::positive(std::string_view key) const {
  const Json& value = require(key);
  if (!value.is_number_integer() || integer(key) < 1) {
    fail(key, "must be a positive integer, got " + describe(value));
  }
  return integer(key);
}

std::int64_t JsonFields::positive(std::string_view key, std::int64_t otherwise) const {
  return find(key) == nullptr ? otherwise : positive(key);
}

double JsonFields::number(std::string_view key) const {
  const Json& value = require(key);
  if (!value.is_number()) fail(key, "must be a number, got " + describe(value));
  return value.get<double>();
}

double JsonFields::number(std::string_view key, double otherwise) const {
  return find(key) == nullptr ? otherwise : number(key);
}

bool JsonFields::boolean(std::string_view key, bool otherwise) const {
  const Json* value = find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) fail(key, "must be true or false, got " + describe(*value));
  return value->get<bool>();
}

std::string JsonFields::string(std::string_view key) const {
  const Json& value = require(key);
  if (!value.is_string()) fail(key, "must be a string, got " + describe(value));
  return value.get<std::string>();
}

std::string JsonFields::string(std::string_view key, std::string otherwise) const {
  return find(key) == nullptr ? std::move(otherwise) : string(key);
}

void JsonFields::fail(std::string_view key, std::string_view problem) const {
  throw Error(ErrorKind::kParse, where_, fmt::format("{}: {}", key, problem));
}

}  // namespace wick::detail
