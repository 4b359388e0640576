#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "wick/layout/dtype.hpp"

// Which way a kernel goes where there are several: what `wick tune` has measured, and its file.

namespace wick::mps {

/// The kernels that have several ways.
enum class ChoiceKernel : std::uint8_t {
  kMatmul,
  kLoraLinear,
  kLoraLinearBackward,
  kSoftmax,
  kSoftmaxBackward,
  kLogSoftmax,
  kLogSoftmaxBackward
};

/// Its name in the catalog.
std::string_view name_of(ChoiceKernel kernel) noexcept;
/// The names of its ways, best first where nothing was measured.
std::span<const std::string_view> ways_of(ChoiceKernel kernel) noexcept;
/// The ways of the kernel of this name; none for kernels that have one.
std::span<const std::string_view> ways_of(std::string_view kernel) noexcept;
/// Whether it works on each row by itself, and makes no product.
bool is_of_rows(ChoiceKernel kernel) noexcept;

/// Whether the way of this name is a kernel of MPS.
bool is_by_mps(std::string_view way) noexcept;

/// A call up to what decides how fast each of its ways is: c [G,M,N] = a [G,M,K] b [G,K,N], with an update of rank R; or
/// rows, a [M,N].
struct CallShape {
  ChoiceKernel kernel = ChoiceKernel::kMatmul;
  std::int64_t G = 1, M = 0, N = 0, K = 0, R = 0;
  DType a = DType::kF32, b = DType::kF32, c = DType::kF32;
  DType update = DType::kF32;  ///< of the matrices of the update
  bool a_by_columns = false, b_by_columns = false, has_bias = false;
  bool a_shared = false, b_shared = false;  ///< one matrix for all of the batch

  friend auto operator<=>(const CallShape&, const CallShape&) = default;
};

/// The shape with every size rounded up to a power of two: what is measured for one shape holds for all that round to it.
CallShape rounded(CallShape shape) noexcept;
/// Whether there is nothing to compute.
bool is_empty(const CallShape& shape) noexcept;
/// "[256,1024] x [1024,4096]ᵀ f32, f16 → f32".
std::string describe(const CallShape& shape);

/// The best way of each rounded shape that was measured and is not what is taken otherwise.
class WayTable {
 public:
  /// The way for a call; empty where none was measured.
  std::string_view choose(const CallShape& shape) const;
  /// Sets the way for all calls of this rounded shape; an empty one forgets it. Throws Error kArgument for a name that is no
  /// way of the kernel.
  void set(const CallShape& shape, std::string_view way);

  bool empty() const noexcept { return ways_.empty(); }
  std::size_t size() const noexcept { return ways_.size(); }
  const std::map<CallShape, std::string_view>& ways() const noexcept { return ways_; }

 private:
  std::map<CallShape, std::string_view> ways_;
};

/// Where a measurement holds.
struct Machine {
  std::string device;  ///< the GPU's name
  std::string system;  ///< the version of the system, with which its drivers come
};

/// Reads the table of a machine; empty where the file or the machine in it is missing. Throws Error kIo, kParse.
WayTable load_ways(const std::filesystem::path& file, const Machine& machine);
/// Writes it beside those of other machines, all or nothing. A file of another content is replaced: what was wrong with it
/// is the answer, empty where nothing was. Throws Error kIo.
std::string store_ways(const std::filesystem::path& file, const Machine& machine,
                       const WayTable& table);

}  // namespace wick::mps
