#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "wick/io/safetensors.hpp"

namespace wick::detail {

/// The longest header that the format allows.
inline constexpr std::uint64_t kLongestSafetensorsHeader = 100'000'000;

/// Where the header itself begins: after its length.
inline constexpr std::size_t kSafetensorsLengthBytes = 8;

struct SafetensorsHeader {
  std::map<std::string, TensorInfo, std::less<>> tensors;
  std::map<std::string, std::string> metadata;
};

/// Reads and checks the header of a whole file. `where` is the file for messages. Throws Error kParse as
/// SafetensorsFile::open().
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, std::string_view where);

}  // namespace wick::detail
