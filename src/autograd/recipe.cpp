#include "autograd/recipe.hpp"

#include <fmt/format.h>

#include <utility>

#include "autograd/tape.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/base/error.hpp"

namespace wick {

namespace {

thread_local bool takes_recipes = false;

}  // namespace

namespace detail {

SavedTensor::SavedTensor(const Tensor& tensor) {
  if (!tensor.defined()) return;
  const std::shared_ptr<Recipe>& recipe = tensor.impl()->recipe;
  if (recipe != nullptr && recipe->describes(tensor)) {
    recipe_ = recipe;
    layout_ = layout_of(tensor);
    return;
  }
  tensor_ = tensor.detach();
  version_ = tensor.version();
}

Tensor SavedTensor::unpack(std::string_view op) const {
  if (recipe_ != nullptr) return with_layout(recipe_->get(), layout_);
  if (tensor_.defined() && tensor_.version() != version_) {
    throw Error(ErrorKind::kArgument, "backward",
                fmt::format("{} saved a tensor that was written to since: version {} then, {} now",
                            op, version_, tensor_.version()),
                {describe("saved", tensor_)});
  }
  return tensor_;
}

bool recomputes() noexcept { return takes_recipes && grad_mode() == GradMode::kRecord; }

void offer_recipe(std::string_view op, const Tensor& result, std::initializer_list<Tensor> inputs,
                  MakeFunction make) {
  if (!recomputes()) return;
  result.impl()->recipe = std::make_shared<Recipe>(
      op, result, std::span<const Tensor>(inputs.begin(), inputs.size()), std::move(make));
}

}  // namespace detail

Recipe::Recipe(std::string_view op, const Tensor& result, std::span<const Tensor> inputs,
               detail::MakeFunction make)
    : op_(op),
      make_(std::move(make)),
      layout_(detail::layout_of(result)),
      dtype_(result.dtype()),
      version_(result.version()),
      storage_(result.impl()->storage) {
  for (const Tensor& input : inputs) inputs_.emplace_back(input);
}

Tensor Recipe::get() {
  if (made_.defined()) return made_;
  const std::shared_ptr<Storage> there = storage_.lock();
  if (there != nullptr && there->version() == version_) {
    return Tensor(std::make_shared<TensorImpl>(
        TensorImpl{.storage = there, .layout = layout_, .dtype = dtype_, .meta = {}}));
  }
  const detail::GradModeScope off(detail::GradMode::kOff);
  std::vector<Tensor> inputs;
  inputs.reserve(inputs_.size());
  for (const detail::SavedTensor& input : inputs_) inputs.push_back(input.unpack(op_));
  made_ = make_(inputs).detach();
  return made_;
}

RecomputeGuard::RecomputeGuard(bool enabled) noexcept
    : before_(std::exchange(takes_recipes, takes_recipes || enabled)) {}

RecomputeGuard::~RecomputeGuard() { takes_recipes = before_; }

}  // namespace wick
