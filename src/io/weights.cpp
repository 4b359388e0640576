#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/json.hpp"
#include "base/quote.hpp"
#include "wick/base/error.hpp"
#include "wick/io/safetensors.hpp"

namespace wick {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSingleFile = "model.safetensors";
constexpr std::string_view kIndexFile = "model.safetensors.index.json";

[[noreturn]] void refuse(const fs::path& file, std::string rule) {
  throw Error(ErrorKind::kParse, file.string(), std::move(rule));
}

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// Nothing to read in the folder: says what else is there.
[[noreturn]] void throw_nothing_found(const fs::path& folder) {
  std::vector<std::string> pickled;
  std::vector<std::string> others;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string extension = entry->path().extension().string();
    const std::string name = entry->path().filename().string();
    if (extension == ".bin" || extension == ".pt" || extension == ".pth") pickled.push_back(name);
    if (extension == ".safetensors" || extension == ".gguf") others.push_back(name);
  }
  std::sort(pickled.begin(), pickled.end());
  std::sort(others.begin(), others.end());
  std::string hint;
  if (!others.empty()) {
    hint = fmt::format("the folder has {}", fmt::join(others, ", "));
  } else if (!pickled.empty()) {
    hint = fmt::format(
        "the folder has {}: pickled PyTorch files, which Wick does not read; convert them to "
        "safetensors",
        fmt::join(pickled, ", "));
  }
  throw Error(ErrorKind::kIo, folder.string(),
              fmt::format("has neither {} nor {}", kSingleFile, kIndexFile), {}, std::move(hint));
}

// An index must not lead out of its folder.
void check_shard_name(const fs::path& index, const std::string& shard) {
  const fs::path path(shard);
  const bool leads_out =
      path.is_absolute() || std::find(path.begin(), path.end(), "..") != path.end();
  if (shard.empty() || leads_out) {
    refuse(index, fmt::format("weight_map names the file {}; it must be one in the same folder",
                              detail::quote(shard)));
  }
}

std::map<std::string, std::string> read_weight_map(const fs::path& index) {
  const detail::Json json = detail::read_json_file(index);
  const detail::JsonFields fields(json, index.string());
  const detail::Json& weight_map = fields.require("weight_map");
  if (!weight_map.is_object()) {
    fields.fail("weight_map", "must be an object, got " + detail::describe(weight_map));
  }
  std::map<std::string, std::string> files;
  for (const auto& [name, file] : weight_map.items()) {
    if (!file.is_string()) {
      fields.fail("weight_map", fmt::format("{} must name a file, got {}", detail::quote(name),
                                            detail::describe(file)));
    }
    check_shard_name(index, file.get_ref<const std::string&>());
    files.emplace(name, file.get<std::string>());
  }
  if (files.empty()) fields.fail("weight_map", "names no tensor");
  return files;
}

}  // namespace

Weights Weights::open(const fs::path& path) {
  std::error_code error;
  Weights weights;
  if (!fs::is_directory(path, error)) {
    weights.add(SafetensorsFile::open(path));
    return weights;
  }
  if (is_there(path / kSingleFile)) {
    weights.add(SafetensorsFile::open(path / kSingleFile));
    return weights;
  }
  const fs::path index = path / kIndexFile;
  if (!is_there(index)) throw_nothing_found(path);
  const std::map<std::string, std::string> weight_map = read_weight_map(index);
  std::vector<std::string> shards;
  shards.reserve(weight_map.size());
  for (const auto& entry : weight_map) shards.push_back(entry.second);
  std::sort(shards.begin(), shards.end());
  shards.erase(std::unique(shards.begin(), shards.end()), shards.end());
  for (const std::string& shard : shards) {
    if (!is_there(path / shard)) {
      refuse(index, fmt::format("weight_map names the file {}, which does not exist",
                                detail::quote(shard)));
    }
    weights.add(SafetensorsFile::open(path / shard));
  }
  weights.check_against(weight_map, index);
  return weights;
}

void Weights::add(SafetensorsFile file) {
  for (const auto& entry : file.tensors()) {
    const auto [place, is_new] = file_index_.try_emplace(entry.first, files_.size());
    if (!is_new) {
      refuse(file.path(), fmt::format("has tensor {}, which {} has too", detail::quote(entry.first),
                                      files_[place->second].path().filename().string()));
    }
  }
  files_.push_back(std::move(file));
}

void Weights::check_against(const std::map<std::string, std::string>& weight_map,
                            const fs::path& index) const {
  for (const auto& [name, shard] : weight_map) {
    const auto found = file_index_.find(name);
    if (found == file_index_.end() || files_[found->second].path() != index.parent_path() / shard) {
      refuse(index, fmt::format("weight_map says that {} has tensor {}, but it does not", shard,
                                detail::quote(name)));
    }
  }
  for (const auto& [name, file] : file_index_) {
    if (!weight_map.contains(name)) {
      refuse(index, fmt::format("weight_map does not name tensor {} of {}", detail::quote(name),
                                files_[file].path().filename().string()));
    }
  }
}

std::vector<std::string> Weights::names() const {
  std::vector<std::string> names;
  names.reserve(file_index_.size());
  for (const auto& entry : file_index_) names.push_back(entry.first);
  return names;
}

bool Weights::contains(std::string_view name) const { return file_index_.contains(name); }

const SafetensorsFile& Weights::file_with(std::string_view name) const {
  const auto found = file_index_.find(name);
  if (found == file_index_.end()) {
    std::string files = files_.size() == 1 ? files_.front().path().string()
                                           : files_.front().path().parent_path().string();
    throw Error(ErrorKind::kArgument, std::move(files), "has no tensor " + detail::quote(name));
  }
  return files_[found->second];
}

const TensorInfo& Weights::info(std::string_view name) const {
  return file_with(name).tensors().find(name)->second;
}

Tensor Weights::tensor(std::string_view name) const { return file_with(name).tensor(name); }

const fs::path& Weights::file_of(std::string_view name) const { return file_with(name).path(); }

std::uint64_t Weights::num_bytes() const {
  std::uint64_t bytes = 0;
  for (const SafetensorsFile& file : files_) {
    for (const auto& entry : file.tensors()) bytes += entry.second.num_bytes;
  }
  return bytes;
}

}  // namespace wick
