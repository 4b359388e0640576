#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "wick/io/safetensors.hpp"
#include "wick/models/model.hpp"

namespace wick {

/// What a parameter is: decides how a new one starts.
enum class ParameterKind { kWeight, kNorm, kBias };

/// Where a model takes its parameters from while it is built.
class ParameterSource {
 public:
  virtual ~ParameterSource() = default;
  /// The parameter of this name. Throws when there is none of this shape.
  virtual Tensor take(const std::string& name, const Shape& shape, ParameterKind kind) = 0;
};

/// The tensors of a checkpoint.
class StoredParameters : public ParameterSource {
 public:
  /// `prefix` is what the checkpoint puts before every name, `ignored` ends names that are allowed to be left over.
  StoredParameters(Weights weights, LoadOptions options, std::string prefix,
                   std::vector<std::string> ignored);
  Tensor take(const std::string& name, const Shape& shape, ParameterKind kind) override;
  /// Throws Error kArgument naming tensors that the model has no place for.
  void check_all_taken() const;

 private:
  std::string stored_name(const std::string& name) const;

  Weights weights_;
  LoadOptions options_;
  std::string prefix_;
  std::vector<std::string> ignored_;
  std::set<std::string> taken_;
};

/// Random weights, norms of one and biases of zero, all of one dtype.
class FreshParameters : public ParameterSource {
 public:
  FreshParameters(double initializer_range, std::uint64_t seed, DType dtype, Device device)
      : initializer_range_(initializer_range), seed_(seed), dtype_(dtype), device_(device) {}
  Tensor take(const std::string& name, const Shape& shape, ParameterKind kind) override;

 private:
  double initializer_range_;
  std::uint64_t seed_;
  std::uint64_t taken_ = 0;
  DType dtype_;
  Device device_;
};

}  // namespace wick
