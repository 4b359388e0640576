#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "tensor/tensor_impl.hpp"
#include "wick/tensor/tensor.hpp"

namespace wick {

namespace detail {

/// Makes a tensor from others.
using MakeFunction = std::function<Tensor(std::span<const Tensor>)>;

/// A tensor as a recorded op remembers it: without a gradient of its own, so that an op that saves its result does not
/// keep itself alive; and where it has a recipe, by the recipe and not by its memory.
class SavedTensor {
 public:
  explicit SavedTensor(const Tensor& tensor);

  /// The tensor, made again if need be. Throws Error kArgument naming `op` when it was written to since.
  Tensor unpack(std::string_view op) const;

 private:
  Tensor tensor_;  // undefined where there is a recipe
  std::uint64_t version_ = 0;
  std::shared_ptr<Recipe> recipe_;
  Layout layout_ = {};  // over the memory of the recipe's result
};

/// Whether ops that are recorded shall make again what one pass over memory makes: a RecomputeGuard lives.
bool recomputes() noexcept;

/// Says how `result`, a fresh tensor, can be made again from `inputs`, to the bit: taken where a RecomputeGuard lives
/// and ops are recorded. `make` runs inside backward(), with nothing recorded, and should capture plain values alone.
void offer_recipe(std::string_view op, const Tensor& result, std::initializer_list<Tensor> inputs,
                  MakeFunction make);

}  // namespace detail

/// How a tensor is made again in place of being kept.
class Recipe {
 public:
  Recipe(std::string_view op, const Tensor& result, std::span<const Tensor> inputs,
         detail::MakeFunction make);

  /// Whether it still makes what is in the memory of the result.
  bool describes(const Tensor& tensor) const { return tensor.version() == version_; }
  /// The result: itself while somebody has it, else made again. Ops that share it run one after the other, so it stays
  /// until the last of them gives the recipe up.
  Tensor get();

 private:
  std::string_view op_;
  std::vector<detail::SavedTensor> inputs_;
  detail::MakeFunction make_;
  Layout layout_;
  DType dtype_;
  std::uint64_t version_;
  std::weak_ptr<Storage> storage_;
  Tensor made_;
};

}  // namespace wick
