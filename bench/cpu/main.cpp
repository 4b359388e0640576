// One engine of the CPU benchmark behind lines of text: bench/cpu/run.py starts one process for each engine.
//
//   wick_cpu_bench ours|onednn|openblas|llama.cpp|reference|machine
//
// A line on stdin is a command, and each is answered by one JSON object:
//   check <case>                       "probes": sums over the rows of each result; or "unsupported"
//   time <case> <warm ms> <ms> <reps>  "us": the median of at least so many calls, with "min_us", "max_us", "calls"
//   peak f32|bf16 <ms>                 (machine) "flops" a second, and the "instructions"
//   bandwidth <kind> <bytes> <ms>      (machine) "bytes" a second
// The first line, unasked, has "version", or "absent" with the reason. A command that fails answers "error".
// WICK_NUM_THREADS, OMP_NUM_THREADS and OPENBLAS_NUM_THREADS say how many threads work.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <iterator>
#include <map>
#include <sstream>
#include <stdexcept>

#include "base/json.hpp"
#include "case.hpp"
#include "machine.hpp"
#include "wick/runtime/settings.hpp"

namespace wick::bench {

namespace {

using Words = std::vector<std::string>;
using detail::Json;

double number(const Words& words, std::size_t i) {
  if (i >= words.size()) throw std::invalid_argument("a number is missing");
  return std::stod(words[i]);
}

Json timed(const Work& work, double warm_ms, double run_ms, std::size_t least) {
  using Clock = std::chrono::steady_clock;
  constexpr std::size_t kMost = 1000000;
  const auto us_since = [](Clock::time_point begin) {
    return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
  };
  const auto warm = Clock::now();
  do {
    work.call();
  } while (us_since(warm) < warm_ms * 1000);
  std::vector<double> samples;
  const auto begin = Clock::now();
  while (samples.size() < kMost && (samples.size() < least || us_since(begin) < run_ms * 1000)) {
    const auto before = Clock::now();
    work.call();
    samples.push_back(us_since(before));
  }
  std::sort(samples.begin(), samples.end());
  return {{"us", samples[samples.size() / 2]},
          {"min_us", samples.front()},
          {"max_us", samples.back()},
          {"calls", samples.size()}};
}

class Session {
 public:
  explicit Session(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}

  Json answer(const Words& words) {
    if (words[0] == "peak" && words.size() > 2) {
      return {{"flops", peak_flops(words[1], num_threads(), number(words, 2))},
              {"instructions", peak_instructions(words[1])}};
    }
    if (words[0] == "bandwidth" && words.size() > 3) {
      const auto bytes = static_cast<std::int64_t>(number(words, 2));
      return {{"bytes", bandwidth(words[1], bytes, num_threads(), number(words, 3))}};
    }
    if (engine_ != nullptr && words[0] == "check") return check(parse_case(words, 1));
    if (engine_ != nullptr && words[0] == "time" && words.size() > 5) {
      const std::size_t end = words.size() - 3;
      const std::optional<Work>& work = prepared(
          parse_case({words.begin(), words.begin() + static_cast<std::ptrdiff_t>(end)}, 1));
      if (!work) return {{"unsupported", true}};
      return timed(*work, number(words, end), number(words, end + 1),
                   static_cast<std::size_t>(number(words, end + 2)));
    }
    throw std::invalid_argument("unknown command: " + words[0]);
  }

 private:
  Json check(const Case& which) {
    if (auto exact = engine_->exact_probes(which)) return {{"probes", *exact}};
    const std::optional<Work>& work = prepared(which);
    if (!work) return {{"unsupported", true}};
    std::vector<std::vector<double>> all;
    for (const Matrix& result : work->results()) all.push_back(probes(result));
    return {{"probes", all}};
  }

  const std::optional<Work>& prepared(const Case& which) {
    const std::string key =
        fmt::format("{} {} {}", which.op, which.dtype, fmt::join(which.sizes, " "));
    const auto found = works_.find(key);
    if (found != works_.end()) return found->second;
    return works_.emplace(key, engine_->prepare(which)).first->second;
  }

  std::unique_ptr<Engine> engine_;
  std::map<std::string, std::optional<Work>> works_;
};

std::unique_ptr<Engine> make_engine(const std::string& name) {
  if (name == "ours") return make_ours();
  if (name == "onednn") {
#if defined(WICK_BENCH_ONEDNN)
    return make_onednn();
#else
    throw std::runtime_error("this build found no oneDNN");
#endif
  }
  if (name == "openblas") return make_openblas();
  if (name == "llama.cpp") return make_llama();
  if (name == "reference") return make_reference();
  if (name == "machine") return nullptr;
  throw std::invalid_argument("no such engine: " + name);
}

void say(const Json& answer) { std::cout << answer.dump() << std::endl; }

int run(const std::string& name) {
  std::unique_ptr<Engine> engine;
  try {
    engine = make_engine(name);
  } catch (const std::exception& error) {
    say({{"absent", error.what()}});
    return 3;
  }
  say({{"version", engine ? engine->version() : peak_instructions("f32")},
       {"compiler", WICK_BENCH_COMPILER}});
  Session session(std::move(engine));
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream stream(line);
    const Words words{std::istream_iterator<std::string>(stream), {}};
    if (words.empty()) continue;
    try {
      say(session.answer(words));
    } catch (const std::exception& error) {
      say({{"error", error.what()}});
    }
  }
  return 0;
}

}  // namespace

}  // namespace wick::bench

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: wick_cpu_bench ours|onednn|openblas|llama.cpp|reference|machine\n";
    return 2;
  }
  return wick::bench::run(argv[1]);
}
