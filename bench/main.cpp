// All benchmarks, or some: `./dev bench ops --benchmark_filter=rms_norm`, `./dev bench ops --benchmark_filter=english`

#include <benchmark/benchmark.h>

#include "benchmarks.hpp"

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  wick::bench::add_op_benchmarks();
  wick::bench::add_tokenizer_benchmarks();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
