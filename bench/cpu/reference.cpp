// What the results must be, in double. A probe of a product is two products with a vector, so that every element is
// covered at the cost of reading the operands.

#include <algorithm>
#include <cmath>

#include "case.hpp"

namespace wick::bench {

namespace {

using Vector = std::vector<double>;

struct Operand {
  std::int64_t rows;
  std::int64_t columns;
  std::vector<float> values;

  double at(std::int64_t row, std::int64_t column) const {
    return values[static_cast<std::size_t>(row * columns + column)];
  }
};

Operand operand(const Case& which, std::int64_t rows, std::int64_t columns, Seed seed,
                float scale) {
  return {rows, columns, input(rows * columns, seed, scale, which.dtype)};
}

Vector times(const Operand& m, const Vector& v) {
  Vector result(static_cast<std::size_t>(m.rows));
  for (std::int64_t row = 0; row < m.rows; ++row) {
    double sum = 0;
    for (std::int64_t i = 0; i < m.columns; ++i)
      sum += m.at(row, i) * v[static_cast<std::size_t>(i)];
    result[static_cast<std::size_t>(row)] = sum;
  }
  return result;
}

Vector transposed_times(const Operand& m, const Vector& v) {
  Vector result(static_cast<std::size_t>(m.columns), 0);
  for (std::int64_t row = 0; row < m.rows; ++row) {
    const double factor = v[static_cast<std::size_t>(row)];
    for (std::int64_t i = 0; i < m.columns; ++i)
      result[static_cast<std::size_t>(i)] += factor * m.at(row, i);
  }
  return result;
}

Vector scaled(Vector v, double factor) {
  for (double& value : v) value *= factor;
  return v;
}

Vector plus(Vector a, const Vector& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

Vector factors(std::int64_t count, int probe) {
  const std::vector<float> values = input(count, kProbe + probe, 1, "f32");
  return {values.begin(), values.end()};
}

template <class Function>
Vector for_each_probe(std::int64_t columns, const Function& product) {
  Vector all;
  for (int probe = 0; probe < kProbes; ++probe) {
    const Vector sums = product(factors(columns, probe));
    all.insert(all.end(), sums.begin(), sums.end());
  }
  return all;
}

std::vector<Vector> of_product(const Case& which) {
  const std::int64_t K = which.size(1);
  const std::int64_t N = which.size(2);
  const Operand x = operand(which, which.size(0), K, kX, 1);
  const Operand w = operand(which, N, K, kW, kWeightScale);
  return {for_each_probe(N, [&](const Vector& v) { return times(x, transposed_times(w, v)); })};
}

struct Lora {
  explicit Lora(const Case& which)
      : K(which.size(1)),
        N(which.size(2)),
        r(which.size(3)),
        x(operand(which, which.size(0), K, kX, 1)),
        w(operand(which, N, K, kW, kWeightScale)),
        a(operand(which, r, K, kA, kWeightScale)),
        b(operand(which, N, r, kB, kWeightScale)) {}

  Vector delta(const Vector& v) const {
    return scaled(times(x, transposed_times(a, transposed_times(b, v))), kLoraScale);
  }
  Vector base(const Vector& v) const { return times(x, transposed_times(w, v)); }

  std::int64_t K, N, r;
  Operand x, w, a, b;
};

std::vector<Vector> of_gradients(const Case& which) {
  const Lora p(which);
  const Operand dy = operand(which, which.size(0), p.N, kDy, 1);
  const auto y = [&](const Vector& v) { return plus(p.base(v), p.delta(v)); };
  const auto dx = [&](const Vector& v) {
    return plus(times(dy, times(p.w, v)), scaled(times(dy, times(p.b, times(p.a, v))), kLoraScale));
  };
  const auto da = [&](const Vector& v) {
    return scaled(transposed_times(p.b, transposed_times(dy, times(p.x, v))), kLoraScale);
  };
  const auto db = [&](const Vector& v) {
    return scaled(transposed_times(dy, times(p.x, transposed_times(p.a, v))), kLoraScale);
  };
  return {for_each_probe(p.N, y), for_each_probe(p.K, dx), for_each_probe(p.K, da),
          for_each_probe(p.r, db)};
}

// Rows of `columns` values, each replaced in place.
template <class Row>
std::vector<Vector> of_rows(const Case& which, float scale, const Row& row_op) {
  const std::int64_t rows = which.size(0);
  const std::int64_t columns = which.size(1);
  const std::vector<float> x = input(rows * columns, kX, scale, which.dtype);
  Vector all;
  for (int probe = 0; probe < kProbes; ++probe) {
    const Vector v = factors(columns, probe);
    for (std::int64_t row = 0; row < rows; ++row) {
      Vector values(x.begin() + row * columns, x.begin() + (row + 1) * columns);
      row_op(values);
      double sum = 0;
      for (std::size_t i = 0; i < values.size(); ++i) sum += v[i] * values[i];
      all.push_back(sum);
    }
  }
  return {all};
}

std::vector<Vector> of_softmax(const Case& which) {
  return of_rows(which, kLogitScale, [](Vector& row) {
    double sum = 0;
    for (double& value : row) sum += value = std::exp(value);
    for (double& value : row) value /= sum;
  });
}

std::vector<Vector> of_rms_norm(const Case& which) {
  const std::vector<float> gain = input(which.size(1), kGain, 1, which.dtype);
  return of_rows(which, 1, [&](Vector& row) {
    double squares = 0;
    for (const double value : row) squares += value * value;
    const double factor =
        1 / std::sqrt(squares / static_cast<double>(row.size()) + static_cast<double>(kNormEps));
    for (std::size_t i = 0; i < row.size(); ++i) row[i] *= factor * static_cast<double>(gain[i]);
  });
}

class Reference : public Engine {
 public:
  std::string version() const override { return "double"; }
  std::optional<Work> prepare(const Case& /*which*/) override { return std::nullopt; }

  std::optional<std::vector<Vector>> exact_probes(const Case& which) override {
    if (which.op == "matmul") return of_product(which);
    if (which.op == "lora_grad") return of_gradients(which);
    if (which.op == "softmax") return of_softmax(which);
    if (which.op == "rms_norm") return of_rms_norm(which);
    if (which.op == "lora_delta") {
      const Lora p(which);
      return std::vector<Vector>{for_each_probe(p.N, [&](const Vector& v) { return p.delta(v); })};
    }
    if (which.op == "lora_linear") {
      const Lora p(which);
      return std::vector<Vector>{
          for_each_probe(p.N, [&](const Vector& v) { return plus(p.base(v), p.delta(v)); })};
    }
    return std::nullopt;
  }
};

}  // namespace

std::unique_ptr<Engine> make_reference() { return std::make_unique<Reference>(); }

}  // namespace wick::bench
