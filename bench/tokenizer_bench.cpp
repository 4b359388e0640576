// Times tokenizers on one core: English text, one letter a million times, and decoding. The ids are checked once before
// they are timed.

#include <benchmark/benchmark.h>

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "benchmarks.hpp"
#include "wick/io/jsonl.hpp"
#include "wick/text/tokenizer.hpp"

namespace wick {

namespace {

constexpr std::size_t kEnglishBytes = std::size_t{4} << 20;
constexpr std::size_t kLetters = 1'000'000;

Tokenizer load(const std::string& name) {
  return Tokenizer::from_file(std::filesystem::path(WICK_TEST_FIXTURES) / "tokenizers" / name);
}

// Tokens of 1, 2, 4 … 512 letters: every merge of a million of them happens.
Tokenizer doubling() {
  std::string vocabulary;
  std::string merges;
  std::string token = "a";
  for (int id = 0; id < 10; ++id, token += token) {
    const std::string comma = id > 0 ? "," : "";
    vocabulary += comma + "\"" + token + "\":" + std::to_string(id);
    if (id < 9) merges += comma + "\"" + token + " " + token + "\"";
  }
  return Tokenizer::from_json(R"({"decoder":{"type":"Fuse"},"model":{"type":"BPE","vocab":{)" +
                              vocabulary + R"(},"merges":[)" + merges + "]}}");
}

// The definitions of a dictionary, again and again until there are enough of them.
const std::string& english() {
  static const std::string text = [] {
    LineReader lines(WICK_BENCH_TEXT);
    std::string once;
    while (const auto line = lines.next()) once.append(line->text).append("\n");
    if (once.empty()) throw std::runtime_error("there is no text in " WICK_BENCH_TEXT);
    std::string all;
    while (all.size() < kEnglishBytes) all += once;
    return all;
  }();
  return text;
}

void count_bytes(benchmark::State& state, const std::string& text) {
  state.SetBytesProcessed(static_cast<std::int64_t>(text.size()) *
                          static_cast<std::int64_t>(state.iterations()));
}

void encode(benchmark::State& state, const Tokenizer& tokenizer, const std::string& text,
            bool keeps_bytes) {
  const auto ids = tokenizer.encode(text);
  if (keeps_bytes && tokenizer.decode(ids) != text) {
    state.SkipWithError("the text does not come back");
    return;
  }
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.encode(text));
  count_bytes(state, text);
  state.counters["bytes/token"] =
      static_cast<double>(text.size()) / static_cast<double>(ids.size());
}

void decode(benchmark::State& state, const std::string& name) {
  const Tokenizer tokenizer = load(name);
  const auto ids = tokenizer.encode(english());
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.decode(ids));
  count_bytes(state, english());
}

// One text after another, as a data set has them.
void encode_lines(benchmark::State& state, const std::string& name) {
  const Tokenizer tokenizer = load(name);
  LineReader lines(WICK_BENCH_TEXT);
  std::vector<std::string> texts;
  std::string all;
  while (const auto line = lines.next()) {
    texts.emplace_back(line->text);
    all += texts.back();
  }
  for (auto _ : state) {
    for (const std::string& text : texts) benchmark::DoNotOptimize(tokenizer.encode(text));
  }
  count_bytes(state, all);
}

void stream(benchmark::State& state, const std::string& name) {
  const Tokenizer tokenizer = load(name);
  const std::string text = english().substr(0, 10'000);
  const auto ids = tokenizer.encode(text);
  for (auto _ : state) {
    TextStream stream(tokenizer);
    for (const std::int32_t id : ids) benchmark::DoNotOptimize(stream.push(id));
  }
  count_bytes(state, text);
}

}  // namespace

void bench::add_tokenizer_benchmarks() {
  static const std::string letters(kLetters, 'a');
  benchmark::RegisterBenchmark("encode_1M_a/doubling", [](benchmark::State& s) {
    encode(s, doubling(), letters, true);
  })->Unit(benchmark::kMillisecond);
  for (const std::string name :
       {"gpt2", "qwen2", "llama3", "llama2-sp", "unigram", "bert-wordpiece"}) {
    const bool keeps_bytes = name != "unigram" && name != "bert-wordpiece";
    const auto add = [&](const std::string& what, const auto& run) {
      benchmark::RegisterBenchmark((what + "/" + name).c_str(), run)->Unit(benchmark::kMillisecond);
    };
    add("encode_english",
        [=](benchmark::State& s) { encode(s, load(name), english(), keeps_bytes); });
    add("encode_lines", [=](benchmark::State& s) { encode_lines(s, name); });
    add("encode_1M_a", [=](benchmark::State& s) { encode(s, load(name), letters, keeps_bytes); });
    add("decode_english", [=](benchmark::State& s) { decode(s, name); });
    add("stream", [=](benchmark::State& s) { stream(s, name); });
  }
}

}  // namespace wick
