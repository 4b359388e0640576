#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <vector>

#include "wick/nn/linear.hpp"

namespace wick {

/// DoRA's factors of one linear layer. To compute one costs as much as a product with a few dozen rows, so passes that
/// train nothing, like those that decode a token each, share it until a tensor changes.
class DoraGains {
 public:
  /// dora_gain() of the layer on this weight, [N] f32.
  Tensor of(const LoraLayer& layer, const Tensor& weight);
  /// Forgets all.
  void clear();

 private:
  struct Known {
    std::array<Tensor, 4> made_from;  // magnitude, weight, lora_A, lora_B
    std::array<std::uint64_t, 4> versions;
    double scale;
    Tensor gain;
  };

  std::mutex mutex_;
  std::vector<Known> known_;
};

}  // namespace wick
