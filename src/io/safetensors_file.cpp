#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/mapped_file.hpp"
#include "base/quote.hpp"
#include "io/safetensors_dtypes.hpp"
#include "io/safetensors_header.hpp"
#include "wick/base/error.hpp"
#include "wick/io/safetensors.hpp"

namespace wick {

struct SafetensorsFile::Impl {
  std::filesystem::path path;
  std::shared_ptr<detail::MappedFile> file;
  detail::SafetensorsHeader header;
};

namespace {

// A bool that is neither 0 nor 1 would be undefined behaviour wherever it is read.
void check_bools(std::span<const std::byte> bytes, const std::string& where,
                 const std::string& name) {
  const auto bad =
      std::find_if(bytes.begin(), bytes.end(), [](std::byte b) { return b > std::byte{1}; });
  if (bad == bytes.end()) return;
  throw Error(ErrorKind::kParse, where,
              fmt::format("{}: element {} is {}, which is no BOOL (0 or 1)", name,
                          bad - bytes.begin(), std::to_integer<int>(*bad)));
}

}  // namespace

SafetensorsFile::SafetensorsFile(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  auto impl = std::make_shared<Impl>();
  impl->path = path;
  impl->file = detail::MappedFile::open(path);
  impl->header = detail::parse_safetensors_header(impl->file->bytes(), path.string());
  return SafetensorsFile(std::move(impl));
}

const std::filesystem::path& SafetensorsFile::path() const { return impl_->path; }

const std::map<std::string, TensorInfo, std::less<>>& SafetensorsFile::tensors() const {
  return impl_->header.tensors;
}

const std::map<std::string, std::string>& SafetensorsFile::metadata() const {
  return impl_->header.metadata;
}

bool SafetensorsFile::contains(std::string_view name) const { return tensors().contains(name); }

Tensor SafetensorsFile::tensor(std::string_view name) const {
  const std::string where = path().string();
  const std::string what = "tensor " + detail::quote(name);
  const auto found = tensors().find(name);
  if (found == tensors().end()) {
    throw Error(ErrorKind::kArgument, where, "has no " + what);
  }
  const TensorInfo& info = found->second;
  const detail::SafetensorsDType* dtype = detail::find_safetensors_dtype(info.dtype);
  if (dtype == nullptr || !dtype->dtype) {
    throw Error(ErrorKind::kUnsupported, where,
                fmt::format("{} is {}, which Wick has no tensor of", what, info.dtype));
  }
  if (info.shape.size() > static_cast<std::size_t>(kMaxRank)) {
    throw Error(ErrorKind::kUnsupported, where,
                fmt::format("{} has {} dimensions; at most {} are supported", what,
                            info.shape.size(), kMaxRank));
  }
  const auto bytes = impl_->file->bytes().subspan(static_cast<std::size_t>(info.offset),
                                                  static_cast<std::size_t>(info.num_bytes));
  if (*dtype->dtype == DType::kBool) check_bools(bytes, where, what);
  return Tensor::from_external(bytes, *dtype->dtype,
                               Shape(std::span<const std::int64_t>(info.shape)), impl_->file);
}

}  // namespace wick
