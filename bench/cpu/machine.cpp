#include "machine.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "loops.hpp"

namespace wick::bench {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Amount a second of all threads: all begin together, and each repeats a piece of work until the time is over.
double rate(int threads, double milliseconds, const std::function<double(int)>& work) {
  std::atomic<int> waiting{threads};
  std::vector<double> rates(static_cast<std::size_t>(threads));
  const auto run = [&](int thread) {
    work(thread);
    for (waiting.fetch_sub(1); waiting.load() > 0;) {
    }
    const auto begin = Clock::now();
    double amount = 0;
    double seconds = 0;
    do {
      amount += work(thread);
      seconds = seconds_since(begin);
    } while (seconds * 1000 < milliseconds);
    rates[static_cast<std::size_t>(thread)] = amount / seconds;
  };
  std::vector<std::jthread> others;
  for (int thread = 1; thread < threads; ++thread) others.emplace_back(run, thread);
  run(0);
  others.clear();
  double sum = 0;
  for (const double each : rates) sum += each;
  return sum;
}

}  // namespace

double peak_flops(const std::string& dtype, int threads, double milliseconds) {
  const ProductLoop loop = product_loop(dtype);
  if (loop.run == nullptr) return 0;
  constexpr std::int64_t kRounds = 20000;
  return rate(threads, milliseconds, [&](int) { return loop.run(kRounds); });
}

std::string peak_instructions(const std::string& dtype) { return product_loop(dtype).name; }

double bandwidth(const std::string& kind, std::int64_t bytes, int threads, double milliseconds) {
  const bool reads = kind == "read";
  const MemoryLoop loop = memory_loop(kind);
  if (loop == nullptr) throw std::invalid_argument("no such kind of access: " + kind);
  // Each thread has its part of the footprint; a copy has half of that to read and half to write.
  const std::int64_t part =
      std::max<std::int64_t>(bytes / threads / (reads ? 1 : 2) / kLoopBytes, 1) * kLoopBytes;
  std::vector<std::vector<std::byte>> memory(static_cast<std::size_t>(threads));
  return rate(threads, milliseconds, [&](int thread) {
    std::vector<std::byte>& mine = memory[static_cast<std::size_t>(thread)];
    // Made by the thread that uses it, so that it lies near.
    if (mine.empty()) mine.resize(static_cast<std::size_t>(2 * part + kLoopBytes));
    std::size_t room = mine.size();
    void* aligned = mine.data();
    std::align(64, static_cast<std::size_t>(2 * part), aligned, room);
    auto* const from = static_cast<std::byte*>(aligned);
    loop(from, from + part, part);
    return static_cast<double>(part) * (reads ? 1 : 2);
  });
}

}  // namespace wick::bench
