#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "base/atomic_file.hpp"
#include "base/json.hpp"
#include "base/quote.hpp"
#include "io/safetensors_dtypes.hpp"
#include "io/safetensors_header.hpp"
#include "wick/base/error.hpp"
#include "wick/io/safetensors.hpp"

namespace wick {

namespace {

using Entry = std::pair<std::string, Tensor>;

// The data begins on a multiple of this, as the format's own writer does it.
constexpr std::size_t kAlignment = 8;

[[noreturn]] void refuse(const std::string& rule) {
  throw Error(ErrorKind::kArgument, "save_safetensors", rule);
}

std::vector<const Entry*> in_file_order(const NamedTensors& tensors) {
  std::vector<const Entry*> order;
  order.reserve(tensors.size());
  for (const Entry& entry : tensors) {
    if (entry.first.empty()) refuse("a tensor's name must not be empty");
    if (entry.first == "__metadata__") refuse("a tensor must not be named __metadata__");
    if (!entry.second.defined()) refuse("tensor " + detail::quote(entry.first) + " is undefined");
    order.push_back(&entry);
  }
  std::sort(order.begin(), order.end(), [](const Entry* a, const Entry* b) {
    const int place_a = detail::safetensors_place(a->second.dtype());
    const int place_b = detail::safetensors_place(b->second.dtype());
    return place_a != place_b ? place_a > place_b : a->first < b->first;
  });
  return order;
}

void check_names(const NamedTensors& tensors) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const Entry& entry : tensors) names.push_back(entry.first);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) refuse("tensor " + detail::quote(*twice) + " is there twice");
}

// Text as it is written in JSON.
std::string json_text(const std::string& text) {
  try {
    return detail::Json(text).dump();
  } catch (const detail::Json::exception&) {
    refuse(detail::quote(text) + " is not UTF-8");
  }
}

std::uint64_t bytes_of(const Tensor& tensor) {
  return static_cast<std::uint64_t>(tensor.numel()) * size_of(tensor.dtype());
}

std::string make_header(const std::vector<const Entry*>& order,
                        const std::map<std::string, std::string>& metadata) {
  std::vector<std::string> members;
  if (!metadata.empty()) {
    std::vector<std::string> pairs;
    pairs.reserve(metadata.size());
    for (const auto& [key, value] : metadata)
      pairs.push_back(json_text(key) + ":" + json_text(value));
    members.push_back(fmt::format("\"__metadata__\":{{{}}}", fmt::join(pairs, ",")));
  }
  std::uint64_t offset = 0;
  for (const Entry* entry : order) {
    const Tensor& tensor = entry->second;
    const std::uint64_t end = offset + bytes_of(tensor);
    members.push_back(fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                                  json_text(entry->first), detail::safetensors_word(tensor.dtype()),
                                  fmt::join(tensor.shape().dims(), ","), offset, end));
    offset = end;
  }
  std::string header = fmt::format("{{{}}}", fmt::join(members, ","));
  header.resize((header.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  if (header.size() > detail::kLongestSafetensorsHeader) {
    refuse(fmt::format("the header of {} tensors would have {} bytes; at most {} are allowed",
                       order.size(), header.size(), detail::kLongestSafetensorsHeader));
  }
  return header;
}

template <class T>
void write_elements(detail::AtomicFile& file, const Tensor& tensor) {
  const std::vector<T> values = tensor.to_vector<T>();
  file.write(std::as_bytes(std::span<const T>(values)));
}

void write_tensor(detail::AtomicFile& file, const Tensor& tensor) {
  switch (tensor.dtype()) {
    case DType::kF32:
      return write_elements<float>(file, tensor);
    case DType::kF16:
      return write_elements<Half>(file, tensor);
    case DType::kBF16:
      return write_elements<BFloat16>(file, tensor);
    case DType::kI32:
      return write_elements<std::int32_t>(file, tensor);
    case DType::kI64:
      return write_elements<std::int64_t>(file, tensor);
    case DType::kU8:
    case DType::kBool:
      return write_elements<std::uint8_t>(file, tensor);
  }
}

}  // namespace

void save_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                      const std::map<std::string, std::string>& metadata) {
  check_names(tensors);
  const std::vector<const Entry*> order = in_file_order(tensors);
  const std::string header = make_header(order, metadata);
  std::array<std::byte, detail::kSafetensorsLengthBytes> length{};
  for (std::size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<std::byte>((std::uint64_t{header.size()} >> (8 * i)) & 0xFFu);
  }
  detail::AtomicFile file(path);
  file.write(length);
  file.write(header);
  for (const Entry* entry : order) write_tensor(file, entry->second);
  file.commit();
}

}  // namespace wick
