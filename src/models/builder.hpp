#pragma once

#include <string>

#include "models/parameter_source.hpp"

namespace wick {

/// Takes parameters for a model under construction and registers them by name.
class ParameterList {
 public:
  ParameterList(ParameterSource& source, NamedTensors& registered)
      : source_(source), registered_(registered) {}

  /// A parameter as it is stored.
  Tensor weight(const std::string& name, const Shape& shape) {
    return add(name, source_.take(name, shape, ParameterKind::kWeight));
  }
  Tensor bias(const std::string& name, const Shape& shape) {
    return add(name, source_.take(name, shape, ParameterKind::kBias));
  }
  /// The weight or bias of a norm: used in f32 whatever it is stored as and activations are.
  Tensor norm(const std::string& name, std::int64_t size,
              ParameterKind kind = ParameterKind::kNorm);

 private:
  Tensor add(const std::string& name, Tensor tensor) {
    registered_.emplace_back(name, tensor);
    return tensor;
  }

  ParameterSource& source_;
  NamedTensors& registered_;
};

}  // namespace wick
