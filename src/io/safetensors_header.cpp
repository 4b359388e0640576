#include "io/safetensors_header.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/json_events.hpp"
#include "base/quote.hpp"
#include "io/safetensors_dtypes.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

constexpr std::string_view kMetadataKey = "__metadata__";
constexpr std::size_t kMostDimensions = 64;

[[noreturn]] void refuse(std::string_view where, std::string rule, std::string hint = {}) {
  throw Error(ErrorKind::kParse, std::string(where), std::move(rule), {}, std::move(hint));
}

// What was read of one tensor's entry. Offsets count from the end of the header.
struct Entry {
  std::optional<std::string> dtype;
  std::optional<std::vector<std::uint64_t>> shape;
  std::optional<std::vector<std::uint64_t>> offsets;
};

class HeaderReader final : public JsonEvents {
 public:
  HeaderReader(std::string_view text, std::string_view where)
      : JsonEvents(text, where, kSafetensorsLengthBytes) {}

  std::map<std::string, Entry> take_entries() { return std::move(entries_); }
  std::map<std::string, std::string> take_metadata() { return std::move(metadata_); }

  bool null() override { return refuse_value("null"); }
  bool boolean(bool value) override { return refuse_value(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override {
    return refuse_value(std::to_string(value));
  }
  bool number_float(number_float_t, const string_t& text) override { return refuse_value(text); }
  bool number_unsigned(number_unsigned_t value) override;
  bool string(string_t& value) override;
  bool key(string_t& name) override;

 private:
  enum class Place { kRoot, kMetadata, kTensor, kShape, kOffsets, kIgnored };

  void begin_object() override;
  void begin_array() override;
  void finish_object() override { places_.pop_back(); }
  void finish_array() override { places_.pop_back(); }

  Place place() const { return places_.back(); }
  // A value that only fields which nobody knows may have; `got` is its text.
  bool refuse_value(const std::string& got);
  [[noreturn]] void fail_twice(std::string_view name) const {
    fail_at(string_start(), fmt::format("the key {} is there twice", quote(name)));
  }

  std::vector<Place> places_;
  std::map<std::string, std::string>::iterator metadata_value_;
  std::string name_;   // the tensor, or a key of the metadata
  std::string field_;  // the key inside a tensor's entry
  std::map<std::string, Entry> entries_;
  std::map<std::string, Entry>::iterator entry_;
  std::map<std::string, std::string> metadata_;
  bool has_metadata_ = false;
};

bool HeaderReader::key(string_t& name) {
  switch (place()) {
    case Place::kRoot:
      name_ = name;
      if (name == kMetadataKey) {
        if (std::exchange(has_metadata_, true)) fail_twice(name);
      } else {
        const auto [entry, is_new] = entries_.try_emplace(name);
        if (!is_new) fail_twice(name);
        entry_ = entry;
      }
      break;
    case Place::kMetadata: {
      const auto [value, is_new] = metadata_.try_emplace(name);
      if (!is_new) fail_twice(name);
      metadata_value_ = value;
      name_ = name;
      break;
    }
    case Place::kTensor: {
      field_ = name;
      const Entry& entry = entry_->second;
      if ((name == "dtype" && entry.dtype) || (name == "shape" && entry.shape) ||
          (name == "data_offsets" && entry.offsets)) {
        fail_twice(name);
      }
      break;
    }
    default:
      break;
  }
  return true;
}

void HeaderReader::begin_object() {
  if (places_.empty()) {
    places_.push_back(Place::kRoot);
  } else if (place() == Place::kRoot && name_ == kMetadataKey) {
    places_.push_back(Place::kMetadata);
  } else if (place() == Place::kRoot) {
    places_.push_back(Place::kTensor);
  } else {
    refuse_value("an object");
    places_.push_back(Place::kIgnored);
  }
}

void HeaderReader::begin_array() {
  if (!places_.empty() && place() == Place::kTensor && field_ == "shape") {
    entry_->second.shape.emplace();
    places_.push_back(Place::kShape);
  } else if (!places_.empty() && place() == Place::kTensor && field_ == "data_offsets") {
    entry_->second.offsets.emplace();
    places_.push_back(Place::kOffsets);
  } else {
    refuse_value("a list");
    places_.push_back(Place::kIgnored);
  }
}

bool HeaderReader::number_unsigned(number_unsigned_t value) {
  if (place() == Place::kShape) {
    auto& shape = *entry_->second.shape;
    if (value > std::uint64_t{INT64_MAX}) return refuse_value(std::to_string(value));
    if (shape.size() == kMostDimensions) {
      fail(fmt::format("tensor {}: shape has more than {} dimensions", quote(name_),
                       kMostDimensions));
    }
    shape.push_back(value);
  } else if (place() == Place::kOffsets) {
    auto& offsets = *entry_->second.offsets;
    if (offsets.size() == 2) {
      fail(fmt::format("tensor {}: data_offsets has more than two numbers", quote(name_)));
    }
    offsets.push_back(value);
  } else {
    refuse_value(std::to_string(value));
  }
  return true;
}

bool HeaderReader::string(string_t& value) {
  if (place() == Place::kMetadata) {
    metadata_value_->second = std::move(value);
  } else if (place() == Place::kTensor && field_ == "dtype") {
    entry_->second.dtype = std::move(value);
  } else {
    refuse_value(quote(value));
  }
  return true;
}

bool HeaderReader::refuse_value(const std::string& got) {
  if (places_.empty()) fail("the header must be an object, got " + printable(got));
  const std::string value = printable(got);
  const std::string tensor = "tensor " + quote(name_);
  switch (place()) {
    case Place::kRoot:
      fail(fmt::format("{} must be an object, got {}",
                       name_ == kMetadataKey ? std::string(kMetadataKey) : tensor, value));
    case Place::kMetadata:
      fail(fmt::format("{}: {} must be a string, got {}", kMetadataKey, quote(name_), value));
    case Place::kShape:
      fail(fmt::format("{}: a size must be an integer from 0 to 2^63 - 1, got {}", tensor, value));
    case Place::kOffsets:
      fail(fmt::format("{}: an offset must be an integer from 0 to 2^64 - 1, got {}", tensor,
                       value));
    case Place::kTensor:
      if (field_ == "dtype") fail(fmt::format("{}: dtype must be a string, got {}", tensor, value));
      if (field_ == "shape" || field_ == "data_offsets") {
        fail(fmt::format("{}: {} must be a list of integers, got {}", tensor, field_, value));
      }
      break;
    case Place::kIgnored:
      break;
  }
  return true;
}

// a * b, or nothing when it does not fit.
std::optional<std::uint64_t> product(std::uint64_t a, std::uint64_t b) {
  if (a != 0 && b > UINT64_MAX / a) return std::nullopt;
  return a * b;
}

// The bytes that dtype and shape call for.
std::uint64_t bytes_of(const std::string& name, const Entry& entry, const SafetensorsDType& dtype,
                       std::string_view where) {
  std::optional<std::uint64_t> bits = dtype.bits;
  for (const std::uint64_t size : *entry.shape) {
    if (bits) bits = product(*bits, size);
  }
  if (!bits) {
    refuse(where,
           fmt::format("{}: the size of shape [{}] overflows", name, fmt::join(*entry.shape, ",")));
  }
  if (*bits % 8 != 0) {
    refuse(where, fmt::format("{}: {} elements of {} bits are no whole number of bytes", name,
                              *bits / dtype.bits, dtype.bits));
  }
  return *bits / 8;
}

TensorInfo check_entry(const std::string& name, const Entry& entry, std::uint64_t data_bytes,
                       std::string_view where) {
  for (const auto& [field, is_there] :
       {std::pair("dtype", entry.dtype.has_value()), std::pair("shape", entry.shape.has_value()),
        std::pair("data_offsets", entry.offsets.has_value())}) {
    if (!is_there) refuse(where, fmt::format("{}: {} is missing", name, field));
  }
  const SafetensorsDType* dtype = find_safetensors_dtype(*entry.dtype);
  if (dtype == nullptr) {
    refuse(where, fmt::format("{}: the dtype {} is unknown", name, quote(*entry.dtype)));
  }
  if (entry.offsets->size() != 2) {
    refuse(where, fmt::format("{}: data_offsets must be two numbers, got {}", name,
                              entry.offsets->size()));
  }
  const std::uint64_t begin = entry.offsets->front();
  const std::uint64_t end = entry.offsets->back();
  if (begin > end || end > data_bytes) {
    refuse(where,
           fmt::format("{}: data_offsets [{},{}] do not lie within the {} bytes of data", name,
                       begin, end, data_bytes),
           end > data_bytes && begin <= end ? "the file may be cut short" : "");
  }
  const std::uint64_t needed = bytes_of(name, entry, *dtype, where);
  if (needed != end - begin) {
    refuse(where, fmt::format("{}: {} [{}] needs {} bytes, data_offsets [{},{}] give {}", name,
                              *entry.dtype, fmt::join(*entry.shape, ","), needed, begin, end,
                              end - begin));
  }
  TensorInfo info;
  info.dtype = *entry.dtype;
  info.shape.assign(entry.shape->begin(), entry.shape->end());
  info.offset = begin;
  info.num_bytes = needed;
  return info;
}

using TensorInfos = std::map<std::string, TensorInfo, std::less<>>;

// Every byte belongs to exactly one tensor.
void check_coverage(const TensorInfos& tensors, std::uint64_t data_bytes, std::string_view where) {
  std::vector<const TensorInfos::value_type*> by_offset;
  by_offset.reserve(tensors.size());
  for (const auto& tensor : tensors) by_offset.push_back(&tensor);
  std::sort(by_offset.begin(), by_offset.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.offset, a->second.num_bytes) <
           std::pair(b->second.offset, b->second.num_bytes);
  });
  std::uint64_t covered = 0;
  for (const auto* tensor : by_offset) {
    const std::uint64_t begin = tensor->second.offset;
    if (begin != covered) {
      refuse(where, fmt::format("tensor {} begins at {}, but the data before it ends at {}: {}",
                                quote(tensor->first), begin, covered,
                                begin < covered ? "they overlap" : "there is a hole"));
    }
    covered += tensor->second.num_bytes;
  }
  if (covered != data_bytes) {
    refuse(where, fmt::format("the tensors end after {} bytes of data, the file has {}", covered,
                              data_bytes));
  }
}

bool begins_with(std::span<const std::byte> file, std::string_view magic) {
  return file.size() >= magic.size() &&
         std::equal(magic.begin(), magic.end(), file.begin(), [](char a, std::byte b) {
           return static_cast<unsigned char>(a) == std::to_integer<unsigned char>(b);
         });
}

// What the file may be instead.
std::string hint_for(std::span<const std::byte> file) {
  if (begins_with(file, std::string_view("PK\x03\x04", 4)) || begins_with(file, "\x80\x02")) {
    return "it looks like a pickled PyTorch file; convert it to safetensors";
  }
  if (begins_with(file, "GGUF")) return "it is a GGUF file";
  if (begins_with(file, "version https://git-lfs")) {
    return "it is a Git LFS pointer; fetch the file itself (git lfs pull)";
  }
  return {};
}

std::string header_text(std::span<const std::byte> file, std::string_view where) {
  if (file.size() < kSafetensorsLengthBytes) {
    refuse(where,
           fmt::format("the file has {} bytes; a safetensors file has 8 at least", file.size()));
  }
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kSafetensorsLengthBytes; ++i) {
    length |= std::to_integer<std::uint64_t>(file[i]) << (8 * i);
  }
  if (length > kLongestSafetensorsHeader) {
    refuse(where,
           fmt::format("the header's length is {}; at most {} are allowed", length,
                       kLongestSafetensorsHeader),
           hint_for(file));
  }
  const std::size_t in_file = file.size() - kSafetensorsLengthBytes;
  if (length > in_file) {
    refuse(where,
           fmt::format("the header's length is {}, but only {} bytes follow", length, in_file),
           hint_for(file).empty() ? "the file may be cut short" : hint_for(file));
  }
  const auto header = file.subspan(kSafetensorsLengthBytes, static_cast<std::size_t>(length));
  std::string text(header.size(), ' ');
  std::transform(header.begin(), header.end(), text.begin(),
                 [](std::byte b) { return static_cast<char>(b); });
  return text;
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file,
                                           std::string_view where) {
  const std::string text = header_text(file, where);
  if (!text.starts_with('{')) {
    refuse(where, fmt::format("byte {}: the header must begin with {{", kSafetensorsLengthBytes),
           hint_for(file));
  }
  HeaderReader reader(text, where);
  reader.read();
  const std::uint64_t data_start = kSafetensorsLengthBytes + text.size();
  const std::uint64_t data_bytes = file.size() - data_start;
  SafetensorsHeader header;
  header.metadata = reader.take_metadata();
  for (const auto& [name, entry] : reader.take_entries()) {
    header.tensors.emplace_hint(header.tensors.end(), name,
                                check_entry("tensor " + quote(name), entry, data_bytes, where));
  }
  check_coverage(header.tensors, data_bytes, where);
  for (auto& [name, info] : header.tensors) info.offset += data_start;
  return header;
}

}  // namespace wick::detail
