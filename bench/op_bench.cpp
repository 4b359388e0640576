// Times the cases of the op lists that name their bytes or FLOP, forward and backward, on every device that
// computes. The forward result is verified before it is timed.

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "benchmarks.hpp"
#include "harness/check_op.hpp"
#include "harness/inputs.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::testing {

namespace {

struct Timed {
  OpSpec spec;
  OpCase op_case;
  DType dtype;
  Device device;

  std::vector<Tensor> inputs() const {
    return make_tensors(op_case, make_arrays(op_case, dtype, seed_of(spec.op, op_case.name)), dtype,
                        device);
  }
};

void count_work(benchmark::State& state, const Timed& timed, double passes) {
  const double bytes =
      timed.op_case.bytes_per_element_of_dtype * static_cast<double>(size_of(timed.dtype)) * passes;
  const auto rate = [&](double amount) {
    return benchmark::Counter(amount, benchmark::Counter::kIsIterationInvariantRate);
  };
  if (bytes > 0) state.counters["B/s"] = rate(bytes);
  if (timed.op_case.flops > 0) state.counters["FLOP/s"] = rate(timed.op_case.flops * passes);
}

void time_forward(benchmark::State& state, const Timed& timed) {
  ReferenceResults reference;
  const std::vector<std::string> failures =
      check_forward(timed.spec, timed.op_case, timed.dtype, timed.device, reference);
  if (!failures.empty()) {
    state.SkipWithError(failures.front().c_str());
    return;
  }
  const NoGradGuard no_grad;
  const std::vector<Tensor> inputs = timed.inputs();
  for (auto _ : state) {
    benchmark::DoNotOptimize(timed.op_case.run(inputs));
    synchronize(timed.device);
  }
  count_work(state, timed, 1);
}

// One forward and, for each result, one backward pass; FLOP and bytes are counted three times, as is usual.
void time_step(benchmark::State& state, const Timed& timed) {
  const std::vector<Tensor> inputs = timed.inputs();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const bool wanted = timed.op_case.inputs[i].differentiable && is_floating(inputs[i].dtype());
    if (wanted) inputs[i].set_requires_grad(true);
  }
  std::vector<Tensor> cotangents;
  for (auto _ : state) {
    std::vector<Tensor> outputs = timed.op_case.run(inputs);
    std::erase_if(outputs, [](const Tensor& output) { return !output.requires_grad(); });
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      if (cotangents.size() == k) {
        cotangents.push_back(
            Tensor::full(outputs[k].shape(), 0.5, outputs[k].dtype(), timed.device));
      }
      // Several results share one graph.
      backward(outputs[k], cotangents[k], {.retain_graph = k + 1 < outputs.size()});
    }
    for (const Tensor& input : inputs) input.set_grad({});
    synchronize(timed.device);
  }
  count_work(state, timed, 3);
}

void add_benchmarks(const OpSpec& spec) {
  for (const OpCase& op_case : spec.cases) {
    if (op_case.flops == 0 && op_case.bytes_per_element_of_dtype == 0) continue;
    for (const DType dtype : spec.dtypes) {
      if (!takes(op_case, dtype)) continue;
      for (const Device device : computing_devices()) {
        const Timed timed{spec, op_case, dtype, device};
        const std::string name =
            fmt::format("{}/{}/{}/{}", spec.op, op_case.name, to_string(dtype), to_string(device));
        benchmark::RegisterBenchmark(name.c_str(), time_forward, timed)->UseRealTime();
        if (gradient_kind(spec.op) == "differentiable" && op_case.gradient && is_floating(dtype)) {
          benchmark::RegisterBenchmark((name + "/step").c_str(), time_step, timed)->UseRealTime();
        }
      }
    }
  }
}

}  // namespace

}  // namespace wick::testing

void wick::bench::add_op_benchmarks() {
  for (const auto& spec : testing::all_specs()) testing::add_benchmarks(spec);
}
