#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace wick::bench {

/// One thing to time: "lora_linear f32 128 1024 1024 8". Sizes are those of its op, in the order of cases.py.
struct Case {
  std::string op;
  std::string dtype;
  std::vector<std::int64_t> sizes;

  /// Size i. Throws std::invalid_argument when there is none.
  std::int64_t size(std::size_t i) const;
};

/// Reads words[first …]. Throws std::invalid_argument saying what is wrong.
Case parse_case(const std::vector<std::string>& words, std::size_t first);

/// Values that every engine makes alike: the i-th of stream `seed`, in [-1, 1).
float input_value(std::uint64_t i, std::uint64_t seed);

/// The first `count` values of a stream, times `scale`; rounded to bf16 when `dtype` says so.
std::vector<float> input(std::int64_t count, std::uint64_t seed, float scale,
                         const std::string& dtype);

/// Streams of the operands, and their scales.
enum Seed : std::uint64_t { kX = 1, kW, kA, kB, kDy, kGain, kTokens, kProbe = 100 };
inline constexpr float kWeightScale = 0.5F;
inline constexpr float kLogitScale = 4;
inline constexpr float kLoraScale = 2;
inline constexpr float kNormEps = 1e-5F;

/// A result, row by row.
struct Matrix {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<float> values;
};

/// A case that is ready to run.
struct Work {
  std::function<void()> call;
  /// calls once more and answers all that it computed
  std::function<std::vector<Matrix>()> results;
};

/// Sums of each row with kProbes streams of factors: a wrong element shows in its row.
inline constexpr int kProbes = 8;
std::vector<double> probes(const Matrix& result);

/// One library, or the double reference.
class Engine {
 public:
  Engine() = default;
  virtual ~Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Name and version for the record.
  virtual std::string version() const = 0;
  /// The probes of a case's results, where the engine knows them without computing the results.
  virtual std::optional<std::vector<std::vector<double>>> exact_probes(const Case& /*which*/) {
    return std::nullopt;
  }
  /// Nothing when the engine has no such op.
  virtual std::optional<Work> prepare(const Case& which) = 0;
};

/// Each throws std::runtime_error with the reason when it cannot work here.
std::unique_ptr<Engine> make_ours();
std::unique_ptr<Engine> make_onednn();
std::unique_ptr<Engine> make_openblas();
std::unique_ptr<Engine> make_llama();
std::unique_ptr<Engine> make_reference();

/// "train" and "decode" of ours.
Work prepare_model(const Case& which);

}  // namespace wick::bench
