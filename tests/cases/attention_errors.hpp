#pragma once

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "harness/op_spec.hpp"
#include "wick/ops/attention.hpp"

namespace wick::testing {

/// Calls of attention() that must be refused, collected: each starts from one that is right.
class AttentionErrors {
 public:
  /// With these q, k and v.
  void operands(const std::string& name, ErrorKind kind, std::vector<std::string> text,
                const Tensor& q, const Tensor& k, const Tensor& v,
                const AttentionOptions& options = {}) {
    list_.push_back({name, kind, std::move(text), [=] { attention(q, k, v, options); }});
  }

  /// With k's shape in both k and v.
  void keys(const std::string& name, const Shape& shape, const AttentionOptions& options = {}) {
    operands(name, ErrorKind::kShape,
             {"q [2,3,4,8] bf16@cpu", "k " + to_string(shape) + " bf16@cpu"}, q_,
             Tensor::zeros(shape, DType::kBF16), Tensor::zeros(shape, DType::kBF16), options);
  }

  /// With these options.
  void options(const std::string& name, ErrorKind kind, const std::string& text,
               const AttentionOptions& options) {
    operands(name, kind, {text}, q_, k_, k_, options);
  }

  const Tensor& q() const { return q_; }
  const Tensor& k() const { return k_; }
  std::vector<ErrorCase> list() const { return list_; }

 private:
  Tensor q_ = Tensor::zeros({2, 3, 4, 8}, DType::kBF16);
  Tensor k_ = Tensor::zeros({2, 5, 2, 8}, DType::kBF16);
  std::vector<ErrorCase> list_;
};

inline void add_attention_operand_errors(AttentionErrors& errors) {
  const auto zeros = [](const Shape& shape, DType dtype = DType::kBF16,
                        Device device = kCpuDevice) { return Tensor::zeros(shape, dtype, device); };
  const Tensor& q = errors.q();
  const Tensor& k = errors.k();
  const Shape keys = k.shape();
  constexpr auto kShape = ErrorKind::kShape;
  constexpr auto kDtype = ErrorKind::kDtype;
  constexpr auto kDevice = ErrorKind::kDevice;
  constexpr auto kArgument = ErrorKind::kArgument;
  const std::string q_text = "q [2,3,4,8] bf16@cpu";
  errors.operands("q_rank", kShape, {"attention: ", "q [2,3,32] bf16@cpu"},
                  zeros({2, 3, 32}, DType::kBF16), k, k);
  errors.operands("v_shape", kShape, {"v [2,6,2,8] bf16@cpu", "k [2,5,2,8] bf16@cpu"}, q, k,
                  zeros({2, 6, 2, 8}, DType::kBF16));
  errors.keys("k_rank", {2, 5, 16});
  errors.keys("batch", {1, 5, 2, 8});
  errors.keys("head_width", {2, 5, 2, 7});
  errors.keys("heads", {2, 5, 3, 8});
  errors.keys("no_kv_heads", {2, 5, 0, 8});
  errors.keys("causal_few_keys", {2, 2, 2, 8});
  errors.keys("window_few_keys", {2, 2, 2, 8}, {.causal = false, .window = 2});
  errors.keys("segments_few_keys", {2, 2, 2, 8},
              {.causal = false, .segments = Tensor::zeros({2, 2}, DType::kI32)});
  const Tensor integers = zeros(keys, DType::kI32);
  errors.operands("q_dtype", kDtype, {"q [2,3,4,8] i32@cpu"}, zeros(q.shape(), DType::kI32),
                  integers, integers);
  errors.operands("k_dtype", kDtype, {q_text, "k [2,5,2,8] f32@cpu"}, q, zeros(keys, DType::kF32),
                  k);
  errors.operands("v_dtype", kDtype, {q_text, "v [2,5,2,8] f16@cpu"}, q, k,
                  zeros(keys, DType::kF16));
  const Tensor elsewhere = zeros(keys, DType::kBF16, kNullDevice);
  errors.operands("k_device", kDevice, {q_text, "k [2,5,2,8] bf16@null"}, q, elsewhere, k);
  errors.operands("v_device", kDevice, {q_text, "v [2,5,2,8] bf16@null"}, q, k, elsewhere);
  errors.operands("q_undefined", kArgument, {"attention: ", "q"}, Tensor(), k, k);
  errors.operands("k_undefined", kArgument, {"attention: ", "k"}, q, Tensor(), k);
  errors.operands("v_undefined", kArgument, {"attention: ", "v"}, q, k, Tensor());
}

inline void add_attention_option_errors(AttentionErrors& errors) {
  const auto zeros = [](const Shape& shape, DType dtype = DType::kBF16,
                        Device device = kCpuDevice) { return Tensor::zeros(shape, dtype, device); };
  constexpr auto kArgument = ErrorKind::kArgument;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  errors.options("mask_shape", ErrorKind::kShape, "key_mask [2,3] bool@cpu",
                 {.key_mask = zeros({2, 3}, DType::kBool)});
  errors.options("mask_rank", ErrorKind::kShape, "key_mask [5] bool@cpu",
                 {.key_mask = zeros({5}, DType::kBool)});
  errors.options("mask_dtype", ErrorKind::kDtype, "key_mask [2,5] u8@cpu",
                 {.key_mask = zeros({2, 5}, DType::kU8)});
  errors.options("mask_device", ErrorKind::kDevice, "key_mask [2,5] bool@null",
                 {.key_mask = zeros({2, 5}, DType::kBool, kNullDevice)});
  errors.options("segments_shape", ErrorKind::kShape, "segments [2,3] i32@cpu",
                 {.segments = zeros({2, 3}, DType::kI32)});
  errors.options("segments_dtype", ErrorKind::kDtype, "segments [2,5] i64@cpu",
                 {.segments = zeros({2, 5}, DType::kI64)});
  errors.options("segments_device", ErrorKind::kDevice, "segments [2,5] i32@null",
                 {.segments = zeros({2, 5}, DType::kI32, kNullDevice)});
  errors.options("window", kArgument, "window", {.window = -1});
  errors.options("scale_negative", kArgument, "scale", {.scale = -0.5});
  errors.options("scale_nan", kArgument, "scale", {.scale = kNan});
  errors.options("scale_infinite", kArgument, "scale", {.scale = kInfinity});
}

inline std::vector<ErrorCase> attention_errors() {
  AttentionErrors errors;
  add_attention_operand_errors(errors);
  add_attention_option_errors(errors);
  return errors.list();
}

}  // namespace wick::testing
