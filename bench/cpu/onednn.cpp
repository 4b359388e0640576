// oneDNN's own calls: dnnl_sgemm for f32, its primitives for bf16 and softmax.

#include <oneapi/dnnl/dnnl.hpp>

#include <fmt/format.h>

#include <cstring>
#include <optional>
#include <stdexcept>
#include <unordered_map>

#include "blas.hpp"
#include "wick/base/float16.hpp"

namespace wick::bench {

namespace {

using dnnl::memory;
using Tag = memory::format_tag;

void sgemm(const Product& p) {
  const dnnl_status_t status =
      dnnl_sgemm(p.transpose_a ? 'T' : 'N', p.transpose_b ? 'T' : 'N', p.M, p.N, p.K, p.alpha, p.a,
                 p.lda, p.b, p.ldb, p.beta, p.c, p.ldc);
  if (status != dnnl_success) throw std::runtime_error("dnnl_sgemm failed");
}

// A primitive with its memory.
struct Running {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::primitive primitive;
  std::unordered_map<int, memory> operands;

  void run() {
    primitive.execute(stream, operands);
    stream.wait();
  }
  memory make(const memory::desc& desc, const std::vector<float>& values, bool is_bf16) const {
    memory result(desc, engine);
    if (is_bf16) {
      auto* const to = static_cast<BFloat16*>(result.get_data_handle());
      for (std::size_t i = 0; i < values.size(); ++i) to[i] = BFloat16(values[i]);
    } else {
      std::memcpy(result.get_data_handle(), values.data(), values.size() * sizeof(float));
    }
    return result;
  }
};

Matrix result_of(const memory& from, std::int64_t rows, std::int64_t columns, bool is_bf16) {
  Matrix result{rows, columns, std::vector<float>(static_cast<std::size_t>(rows * columns))};
  for (std::size_t i = 0; i < result.values.size(); ++i) {
    result.values[i] =
        is_bf16 ? static_cast<float>(static_cast<const BFloat16*>(from.get_data_handle())[i])
                : static_cast<const float*>(from.get_data_handle())[i];
  }
  return result;
}

Work work_of(const std::shared_ptr<Running>& running, std::int64_t rows, std::int64_t columns,
             bool is_bf16) {
  return {[running] { running->run(); },
          [running, rows, columns, is_bf16] {
            running->run();
            return std::vector<Matrix>{
                result_of(running->operands.at(DNNL_ARG_DST), rows, columns, is_bf16)};
          }};
}

Work product_bf16(const Case& which) {
  const std::int64_t M = which.size(0);
  const std::int64_t K = which.size(1);
  const std::int64_t N = which.size(2);
  const auto running = std::make_shared<Running>();
  const auto type = memory::data_type::bf16;
  const memory::desc x({M, K}, type, Tag::ab);
  const memory::desc w({K, N}, type, Tag::ba);
  const memory::desc y({M, N}, type, Tag::ab);
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::matmul::primitive_desc description(running->engine, x, w, y);
#else
  const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(x, w, y), running->engine);
#endif
  running->primitive = dnnl::matmul(description);
  running->operands = {
      {DNNL_ARG_SRC, running->make(x, input(M * K, kX, 1, "bf16"), true)},
      {DNNL_ARG_WEIGHTS, running->make(w, input(N * K, kW, kWeightScale, "bf16"), true)},
      {DNNL_ARG_DST, memory(y, running->engine)}};
  return work_of(running, M, N, true);
}

// Processors without AVX-512 have none.
std::optional<Work> product_bf16_if_any(const Case& which) {
  try {
    return product_bf16(which);
  } catch (const dnnl::error& error) {
    if (error.status != dnnl_unimplemented) throw;
    return std::nullopt;
  }
}

Work softmax_f32(const Case& which) {
  const std::int64_t rows = which.size(0);
  const std::int64_t columns = which.size(1);
  const auto running = std::make_shared<Running>();
  const memory::desc x({rows, columns}, memory::data_type::f32, Tag::ab);
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::softmax_forward::primitive_desc description(
      running->engine, dnnl::prop_kind::forward_inference, dnnl::algorithm::softmax_accurate, x, x,
      1);
#else
  const dnnl::softmax_forward::primitive_desc description(
      dnnl::softmax_forward::desc(dnnl::prop_kind::forward_inference, x, 1), running->engine);
#endif
  running->primitive = dnnl::softmax_forward(description);
  running->operands = {
      {DNNL_ARG_SRC, running->make(x, input(rows * columns, kX, kLogitScale, "f32"), false)},
      {DNNL_ARG_DST, memory(x, running->engine)}};
  return work_of(running, rows, columns, false);
}

class OneDnn : public Engine {
 public:
  std::string version() const override {
    const dnnl_version_t* const version = dnnl_version();
    return fmt::format("{}.{}.{}", version->major, version->minor, version->patch);
  }

  std::optional<Work> prepare(const Case& which) override {
    if (which.op == "matmul" && which.dtype == "bf16") return product_bf16_if_any(which);
    if (which.op == "softmax" && which.dtype == "f32") return softmax_f32(which);
    return blas_work(which, sgemm);
  }
};

}  // namespace

std::unique_ptr<Engine> make_onednn() { return std::make_unique<OneDnn>(); }

}  // namespace wick::bench
