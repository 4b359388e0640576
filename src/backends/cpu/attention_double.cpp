#include "backends/cpu/attention_double.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <memory>

#include "backends/cpu/attention_mask.hpp"
#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/gemm_double.hpp"
#include "backends/cpu/scratch.hpp"
#include "layout/view_cast.hpp"

namespace wick::cpu {

namespace {

constexpr std::int64_t kMostMultiplications = 1 << 18;
constexpr std::int64_t kLeastDepth = 16;  // what a pair of a query and a key counts at least
constexpr std::int64_t kFewQueries = 4;

bool is_small(const AttentionProblem& p, DType dtype) {
  return dtype == DType::kF32 && p.T > kFewQueries &&
         p.B * p.H * p.T * p.S * std::max(p.Dh, kLeastDepth) <= kMostMultiplications;
}

KernelStatus refused() { return KernelStatus::unsupported("not small, f32 and finite"); }

// Rows of doubles, filled up with zeros to what a product takes.
class Rows {
 public:
  Rows(Stream& stream, std::int64_t count, std::int64_t columns)
      : count_(count),
        columns_(columns),
        width_(columns_in_double(columns)),
        memory_(std::make_unique<ScratchArray<double>>(stream, count * width_)) {
    std::fill_n(memory_->data(), count * width_, 0.0);
  }

  std::int64_t count() const { return count_; }
  std::int64_t columns() const { return columns_; }
  double* row(std::int64_t i) const { return memory_->data() + i * width_; }

  void add_product(const Rows& a, const Rows& b) const {
    add_in_double({.rows = count_,
                   .columns = width_,
                   .K = b.count_,
                   .a = a.row(0),
                   .a_stride = a.width_,
                   .b = b.row(0),
                   .sums = row(0)});
  }
  void set_transposed(const Rows& other) const {
    for (std::int64_t i = 0; i < count_; ++i) {
      for (std::int64_t j = 0; j < columns_; ++j) row(i)[j] = other.row(j)[i];
    }
  }

 private:
  std::int64_t count_, columns_, width_;
  std::unique_ptr<ScratchArray<double>> memory_;
};

Rows product(Stream& stream, const Rows& a, const Rows& b) {
  Rows result(stream, a.count(), b.columns());
  result.add_product(a, b);
  return result;
}

Rows transposed(Stream& stream, const Rows& x) {
  Rows result(stream, x.columns(), x.count());
  result.set_transposed(x);
  return result;
}

// A key head of one sequence and the query heads that share it. Row r of the queries is one of [T · group].
struct Head {
  const AttentionProblem& p;
  std::int64_t b, hkv;
};

Rows query_rows(Stream& stream, const Head& head, const TensorView& x) {
  const AttentionProblem& p = head.p;
  Rows rows(stream, p.rows, p.Dh);
  const float* const first =
      data_as<const float>(x) + head.b * x.stride(0) + head.hkv * p.group * x.stride(2);
  for (std::int64_t r = 0; r < p.rows; ++r) {
    std::copy_n(first + r / p.group * x.stride(1) + r % p.group * x.stride(2), p.Dh, rows.row(r));
  }
  return rows;
}

Rows key_rows(Stream& stream, const Head& head, const TensorView& x) {
  Rows rows(stream, head.p.S, head.p.Dh);
  const float* const first =
      data_as<const float>(x) + head.b * x.stride(0) + head.hkv * x.stride(2);
  for (std::int64_t j = 0; j < head.p.S; ++j) {
    std::copy_n(first + j * x.stride(1), head.p.Dh, rows.row(j));
  }
  return rows;
}

bool sees(const Head& head, std::int64_t position, std::int64_t j) {
  const AttentionProblem& p = head.p;
  const Interval seen = keys_of_query(p, position);
  if (j < seen.begin || j >= seen.end) return false;
  if (p.key_mask != nullptr &&
      !p.key_mask[head.b * p.key_mask_strides[0] + j * p.key_mask_strides[1]]) {
    return false;
  }
  if (p.segments == nullptr) return true;
  const auto segment = [&](std::int64_t at) {
    return p.segments[head.b * p.segment_strides[0] + at * p.segment_strides[1]];
  };
  return position >= 0 && segment(position) == segment(j);
}

// Scores of a query with all keys → probabilities, zeros for a query that sees no key. Returns the logarithm of the sum of
// exponentials.
double softmax_of_visible(const Head& head, std::int64_t r, double* scores) {
  const std::int64_t S = head.p.S;
  const std::int64_t position = head.p.first_position + r / head.p.group;
  constexpr double kNothing = -std::numeric_limits<double>::infinity();
  double max = kNothing;
  for (std::int64_t j = 0; j < S; ++j) {
    if (!sees(head, position, j)) scores[j] = kNothing;
    max = std::max(max, scores[j]);
  }
  if (max == kNothing) {
    std::fill_n(scores, S, 0.0);
    return kNothing;
  }
  double total = 0;
  for (std::int64_t j = 0; j < S; ++j) {
    scores[j] = scores[j] == kNothing ? 0 : std::exp(scores[j] - max);
    total += scores[j];
  }
  for (std::int64_t j = 0; j < S; ++j) scores[j] /= total;
  return max + std::log(total);
}

// [rows, S]; lse [B,H,T] may be null.
Rows probabilities_of(Stream& stream, const Head& head, const Rows& q, const Rows& k, float scale,
                      float* lse) {
  Rows scores = product(stream, q, transposed(stream, k));
  for (std::int64_t r = 0; r < scores.count(); ++r) {
    for (std::int64_t j = 0; j < head.p.S; ++j) scores.row(r)[j] *= static_cast<double>(scale);
    const double sum = softmax_of_visible(head, r, scores.row(r));
    if (lse != nullptr) {
      lse[head_token_index(head.p, head.b, head.hkv, r)] = static_cast<float>(sum);
    }
  }
  return scores;
}

void store_row(const double* row, std::int64_t Dh, float* out) {
  for (std::int64_t d = 0; d < Dh; ++d) out[d] = static_cast<float>(row[d]);
}

void store_queries(const Head& head, const Rows& rows, const TensorView& out) {
  for (std::int64_t r = 0; r < rows.count(); ++r) {
    store_row(rows.row(r), head.p.Dh,
              data_as<float>(out) + token_head_index(head.p, head.b, head.hkv, r) * head.p.Dh);
  }
}

void store_keys(const Head& head, const Rows& rows, const TensorView& out) {
  for (std::int64_t j = 0; j < rows.count(); ++j) {
    const std::int64_t at = (head.b * head.p.S + j) * head.p.Hkv + head.hkv;
    store_row(rows.row(j), head.p.Dh, data_as<float>(out) + at * head.p.Dh);
  }
}

// dS = scale · P (dP − Σ P dP) in place of dP.
void score_gradients(const Rows& p, float scale, const Rows& gradients) {
  for (std::int64_t r = 0; r < p.count(); ++r) {
    double* const row = gradients.row(r);
    double delta = 0;
    for (std::int64_t j = 0; j < p.columns(); ++j) delta += p.row(r)[j] * row[j];
    for (std::int64_t j = 0; j < p.columns(); ++j) {
      row[j] = static_cast<double>(scale) * p.row(r)[j] * (row[j] - delta);
    }
  }
}

bool is_finite(const TensorView& x) {
  for (std::int64_t b = 0; b < x.dim(0); ++b) {
    for (std::int64_t t = 0; t < x.dim(1); ++t) {
      for (std::int64_t h = 0; h < x.dim(2); ++h) {
        const float* const row =
            data_as<const float>(x) + b * x.stride(0) + t * x.stride(1) + h * x.stride(2);
        if (!std::all_of(row, row + x.dim(3), [](float v) { return std::isfinite(v); })) {
          return false;
        }
      }
    }
  }
  return true;
}

bool are_finite(std::initializer_list<TensorView> operands) {
  return std::ranges::all_of(operands, is_finite);
}

template <class F>
void for_each_head(Stream& stream, const AttentionProblem& p, const F& f) {
  const std::int64_t work = 1 + p.rows * p.S * std::max(p.Dh, kLeastDepth);
  constexpr std::int64_t kLeastWork = 20'000;
  parallel_for(stream, p.B * p.Hkv, 1 + kLeastWork / work,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) f(Head{p, i / p.Hkv, i % p.Hkv});
               });
}

}  // namespace

KernelStatus attention_in_double(Stream& stream, const AttentionArgs& a) {
  const AttentionProblem p(a.q, a.k, a.mask);
  if (!is_small(p, a.q.dtype) || !are_finite({a.q, a.k, a.v})) return refused();
  for_each_head(stream, p, [&](const Head& head) {
    const Rows probabilities =
        probabilities_of(stream, head, query_rows(stream, head, a.q), key_rows(stream, head, a.k),
                         a.scale, a.lse ? data_as<float>(a.lse) : nullptr);
    store_queries(head, product(stream, probabilities, key_rows(stream, head, a.v)), a.out);
  });
  return KernelStatus::ok();
}

// With probabilities P: dv = Pᵀ dout, dS as score_gradients() makes it of dout vᵀ, dq = dS k, dk = dSᵀ q.
KernelStatus attention_backward_in_double(Stream& stream, const AttentionBackwardArgs& a) {
  const AttentionProblem p(a.q, a.k, a.mask);
  if (!is_small(p, a.q.dtype) || !are_finite({a.q, a.k, a.v, a.dout})) return refused();
  for_each_head(stream, p, [&](const Head& head) {
    const Rows q = query_rows(stream, head, a.q);
    const Rows k = key_rows(stream, head, a.k);
    const Rows dout = query_rows(stream, head, a.dout);
    const Rows probabilities = probabilities_of(stream, head, q, k, a.scale, nullptr);
    if (a.dv) store_keys(head, product(stream, transposed(stream, probabilities), dout), a.dv);
    if (!a.dq && !a.dk) return;
    const Rows gradients = product(stream, dout, transposed(stream, key_rows(stream, head, a.v)));
    score_gradients(probabilities, a.scale, gradients);
    if (a.dq) store_queries(head, product(stream, gradients, k), a.dq);
    if (a.dk) store_keys(head, product(stream, transposed(stream, gradients), q), a.dk);
  });
  return KernelStatus::ok();
}

}  // namespace wick::cpu
