#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wick/tensor/tensor.hpp"

namespace wick {

/// What a safetensors file says of one tensor.
struct TensorInfo {
  std::string dtype;                ///< the format's word: "F32", "BF16", "I64", …
  std::vector<std::int64_t> shape;  ///< outermost first; empty for a scalar
  std::uint64_t offset = 0;         ///< of the first byte, from the start of the file
  std::uint64_t num_bytes = 0;
};

/// Tensors by name, in one order.
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// A safetensors file, mapped: tensors share its pages and keep it open; nothing is read until it is used.
class SafetensorsFile {
 public:
  /// Checks the whole header. Throws Error kIo when the file cannot be read, and kParse with the file, the tensor or
  /// byte and the rule when it breaks the format: a header longer than 100 MB or than the file, JSON that is
  /// not an object or repeats a key, an unknown dtype, a negative, fractional or overflowing size, a byte range that
  /// does not match dtype and shape, overlaps another, leaves a hole or ends before or after the file.
  static SafetensorsFile open(const std::filesystem::path& path);

  /// The file's path as it was given.
  const std::filesystem::path& path() const;
  /// Everything the header lists.
  const std::map<std::string, TensorInfo, std::less<>>& tensors() const;
  /// The header's `__metadata__`.
  const std::map<std::string, std::string>& metadata() const;
  /// True when the file has such a tensor.
  bool contains(std::string_view name) const;
  /// A tensor on the CPU over the file's own pages, without a copy. Throws Error kArgument for a name that is not
  /// there, kUnsupported for a dtype or rank that Wick has no tensor of, kParse for a BOOL that is neither 0 nor 1.
  Tensor tensor(std::string_view name) const;

 private:
  struct Impl;
  explicit SafetensorsFile(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

/// Writes tensors as one safetensors file: header padded to 8 bytes, tensors ordered by dtype (largest elements first)
/// and name, as the format's own writer does; no metadata is written when the map is empty. One tensor at a time is
/// copied to the host. The path names the old file or the whole new one at any moment.
/// Throws Error kArgument for an undefined tensor and a name that is empty, repeated, "__metadata__" or not UTF-8, kIo with the path and the
/// system's reason.
void save_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                      const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

/// The weights of a model folder: `model.safetensors`, or the shards named by `model.safetensors.index.json`.
class Weights {
 public:
  /// Opens a folder or one safetensors file. Throws Error kIo when neither form is there (a pickled
  /// `pytorch_model.bin` is named as what cannot be read), kParse when the index names a file or tensor that
  /// does not exist, misses a tensor that a shard has, or a tensor lies in two shards.
  static Weights open(const std::filesystem::path& path);

  /// Names of all tensors, sorted.
  std::vector<std::string> names() const;
  /// True when there is such a tensor.
  bool contains(std::string_view name) const;
  /// What the header says. Throws Error kArgument for a name that is not there.
  const TensorInfo& info(std::string_view name) const;
  /// As SafetensorsFile::tensor().
  Tensor tensor(std::string_view name) const;
  /// The file that holds a tensor, for messages. Throws Error kArgument for a name that is not there.
  const std::filesystem::path& file_of(std::string_view name) const;
  /// Bytes of all tensors.
  std::uint64_t num_bytes() const;
  /// The files, in order.
  const std::vector<SafetensorsFile>& files() const { return files_; }

 private:
  void add(SafetensorsFile file);
  void check_against(const std::map<std::string, std::string>& weight_map,
                     const std::filesystem::path& index) const;
  const SafetensorsFile& file_with(std::string_view name) const;

  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t, std::less<>> file_index_;
};

}  // namespace wick
