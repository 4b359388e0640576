#include "blas.hpp"

namespace wick::bench {

namespace {

using Floats = std::vector<float>;

// Operands and results of one case, and what the calls between them are.
struct Problem {
  std::int64_t M, K, N, r;
  Floats x, w, a, b, dy;  // x [M,K], w [N,K], a [r,K], b [N,r], dy [M,N]
  Floats y, h, dx, t, da, db;
  Sgemm sgemm;

  // y = factor · x mᵀ + beta · y, m [columns, inner]
  void linear(const Floats& in, std::int64_t inner, const Floats& m, std::int64_t columns,
              float factor, float beta, Floats& out) const {
    sgemm({.transpose_b = true,
           .M = M,
           .N = columns,
           .K = inner,
           .alpha = factor,
           .a = in.data(),
           .lda = inner,
           .b = m.data(),
           .ldb = inner,
           .beta = beta,
           .c = out.data(),
           .ldc = columns});
  }
  // out = factor · in m + beta · out, m [inner, columns]
  void back(const Floats& in, std::int64_t inner, const Floats& m, std::int64_t columns,
            float factor, float beta, Floats& out) const {
    sgemm({.M = M,
           .N = columns,
           .K = inner,
           .alpha = factor,
           .a = in.data(),
           .lda = inner,
           .b = m.data(),
           .ldb = columns,
           .beta = beta,
           .c = out.data(),
           .ldc = columns});
  }
  // out = factor · leftᵀ right, left [M,rows], right [M,columns]
  void outer(const Floats& left, std::int64_t rows, const Floats& right, std::int64_t columns,
             float factor, Floats& out) const {
    sgemm({.transpose_a = true,
           .M = rows,
           .N = columns,
           .K = M,
           .alpha = factor,
           .a = left.data(),
           .lda = rows,
           .b = right.data(),
           .ldb = columns,
           .c = out.data(),
           .ldc = columns});
  }

  void forward() {
    linear(x, K, w, N, 1, 0, y);
    linear(x, K, a, r, 1, 0, h);
    linear(h, r, b, N, kLoraScale, 1, y);
  }
  void delta() {
    linear(x, K, a, r, 1, 0, h);
    linear(h, r, b, N, kLoraScale, 0, y);
  }
  void backward() {
    back(dy, N, b, r, kLoraScale, 0, t);
    back(dy, N, w, K, 1, 0, dx);
    back(t, r, a, K, 1, 1, dx);
    outer(t, r, x, K, 1, da);
    outer(dy, N, h, r, kLoraScale, db);
  }
};

Floats zeros(std::int64_t count) { return Floats(static_cast<std::size_t>(count)); }

std::shared_ptr<Problem> make_problem(const Case& which, const Sgemm& sgemm) {
  const std::int64_t M = which.size(0);
  const std::int64_t K = which.size(1);
  const std::int64_t N = which.size(2);
  const std::int64_t r = which.op == "matmul" ? 0 : which.size(3);
  const auto make = [&](std::int64_t count, Seed seed, float scale) {
    return input(count, seed, scale, "f32");
  };
  return std::make_shared<Problem>(Problem{.M = M,
                                           .K = K,
                                           .N = N,
                                           .r = r,
                                           .x = make(M * K, kX, 1),
                                           .w = make(N * K, kW, kWeightScale),
                                           .a = make(r * K, kA, kWeightScale),
                                           .b = make(N * r, kB, kWeightScale),
                                           .dy = make(M * N, kDy, 1),
                                           .y = zeros(M * N),
                                           .h = zeros(M * r),
                                           .dx = zeros(M * K),
                                           .t = zeros(M * r),
                                           .da = zeros(r * K),
                                           .db = zeros(N * r),
                                           .sgemm = sgemm});
}

Work work_of(const std::shared_ptr<Problem>& p, const std::function<void()>& call) {
  return {call, [p, call] {
            call();
            return std::vector<Matrix>{{p->M, p->N, p->y}};
          }};
}

}  // namespace

std::optional<Work> blas_work(const Case& which, const Sgemm& sgemm) {
  const bool is_known = which.op == "matmul" || which.op == "lora_delta" ||
                        which.op == "lora_linear" || which.op == "lora_grad";
  if (which.dtype != "f32" || !is_known) return std::nullopt;
  const std::shared_ptr<Problem> p = make_problem(which, sgemm);
  if (which.op == "matmul")
    return work_of(p, [p] { p->linear(p->x, p->K, p->w, p->N, 1, 0, p->y); });
  if (which.op == "lora_delta") return work_of(p, [p] { p->delta(); });
  if (which.op == "lora_linear") return work_of(p, [p] { p->forward(); });
  const auto step = [p] {
    p->forward();
    p->backward();
  };
  return Work{
      step, [p, step] {
        step();
        return std::vector<Matrix>{
            {p->M, p->N, p->y}, {p->M, p->K, p->dx}, {p->r, p->K, p->da}, {p->N, p->r, p->db}};
      }};
}

}  // namespace wick::bench
