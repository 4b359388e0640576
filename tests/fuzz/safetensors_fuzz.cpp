// A safetensors file: whatever its bytes, a header comes out whose tensors tile the data, or an Error.
#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "fuzz/fuzz_support.hpp"
#include "io/safetensors_header.hpp"
#include "wick/base/error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  wick::detail::SafetensorsHeader header;
  try {
    header = wick::detail::parse_safetensors_header(file, "fuzz.safetensors");
  } catch (const wick::Error& error) {
    wick::require(error.kind() == wick::ErrorKind::kParse);
    return 0;
  }
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (const auto& [name, info] : header.tensors) {
    wick::require(std::all_of(info.shape.begin(), info.shape.end(), [](auto n) { return n >= 0; }));
    ranges.emplace_back(info.offset, info.offset + info.num_bytes);
  }
  std::sort(ranges.begin(), ranges.end());
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    wick::require(ranges[i].first <= ranges[i].second);
    wick::require(ranges[i].second == (i + 1 < ranges.size() ? ranges[i + 1].first : size));
  }
  return 0;
}
