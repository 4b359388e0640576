// Commands that need no model: tokenize and devices.

#include <fmt/format.h>

#include <iostream>
#include <iterator>

#include "base/json.hpp"
#include "command.hpp"
#include "output.hpp"

namespace wick::cli {

namespace {

using detail::Json;

struct TokenizeFlags {
  std::filesystem::path tokenizer;
  std::vector<std::string> texts;
  std::vector<std::int32_t> ids;
  bool no_special = false;
  bool count = false;
  bool json = false;
};

std::string standard_input() {
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

int run_tokenize(const TokenizeFlags& flags) {
  const Tokenizer tokenizer = Tokenizer::from_file(flags.tokenizer);
  if (!flags.ids.empty()) {
    print_out(tokenizer.decode(flags.ids, flags.no_special) + "\n");
    return kSuccess;
  }
  const std::vector<std::string> texts =
      flags.texts.empty() ? std::vector<std::string>{standard_input()} : flags.texts;
  for (const std::string& text : texts) {
    const auto ids = tokenizer.encode(text, {.add_special_tokens = !flags.no_special});
    if (flags.count) {
      print_out(fmt::format("{}\n", ids.size()));
      continue;
    }
    std::vector<std::string> tokens;
    for (const std::int32_t id : ids) tokens.push_back(tokenizer.id_to_token(id).value_or(""));
    if (flags.json) {
      print_out(json_line(Json{{"text", text}, {"ids", ids}, {"tokens", tokens}}));
      continue;
    }
    for (std::size_t i = 0; i < ids.size(); ++i) {
      print_out(fmt::format("{:>8}  {}\n", ids[i], tokens[i]));
    }
  }
  return kSuccess;
}

Json describe(Device device) {
  Json described{{"device", to_string(device)},
                 {"description", device_description(device)},
                 {"products", kernel_variants(device, "matmul")}};
  if (const auto ways = kernel_variants(device, "softmax"); !ways.empty()) {
    described["softmax"] = ways;
  }
  if (device.type == DeviceType::kCpu) {
    described["threads"] = num_threads();
    described["instruction_sets"] = kernel_variants(device, "isa");
  }
  return described;
}

// "cuda: no driver" as its two parts.
Json describe_absent(const std::string& absent) {
  const std::size_t colon = absent.find(": ");
  return {{"device", absent.substr(0, colon)}, {"reason", absent.substr(colon + 2)}};
}

std::string names_in(const Json& list) {
  return fmt::format("{}", fmt::join(list.get<std::vector<std::string>>(), ", "));
}

std::string line_of(const Json& device) {
  std::string what = device["description"].get<std::string>();
  if (device.contains("threads")) {
    what += fmt::format("{}{} threads; instruction sets {}", what.empty() ? "" : ", ",
                        device["threads"].get<int>(), names_in(device["instruction_sets"]));
  }
  const std::string softmax =
      device.contains("softmax") ? "; softmax by " + names_in(device["softmax"]) : "";
  return fmt::format("{}: {}; products by {}{}\n", device["device"].get<std::string>(), what,
                     names_in(device["products"]), softmax);
}

int run_devices(bool json) {
  Json present = Json::array();
  for (const Device device : devices()) {
    if (device.type != DeviceType::kNull) present.push_back(describe(device));
  }
  Json absent = Json::array();
  for (const std::string& reason : absent_devices()) absent.push_back(describe_absent(reason));
  if (json) {
    print_out(Json{{"devices", present}, {"absent", absent}}.dump(2) + "\n");
    return kSuccess;
  }
  for (const Json& device : present) print_out(line_of(device));
  for (const std::string& reason : absent_devices()) print_out(reason + "\n");
  return kSuccess;
}

constexpr const char* kTokenizeFooter = R"(Examples:
  wick tokenize --model DIR --text "Hello, world"
  wick tokenize --model DIR --count < book.txt
  wick tokenize --model DIR --decode 9707,11,1879)";

}  // namespace

void add_tokenize_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<TokenizeFlags>();
  CLI::App* command = app.add_subcommand("tokenize", "Show the tokens of a text");
  command->footer(kTokenizeFooter);
  command->add_option("--model,-m,--tokenizer", flags->tokenizer, "Model folder or tokenizer.json")
      ->required();
  command->add_option("--text,-t", flags->texts, "A text; standard input without it");
  command->add_option("--decode", flags->ids, "Ids to turn back into text")->delimiter(',');
  command->add_flag("--no-special", flags->no_special, "Without the special tokens");
  command->add_flag("--count", flags->count, "Print only how many");
  command->add_flag("--json", flags->json, "Print JSON objects");
  command->callback([flags, &session] { session.exit_code = run_tokenize(*flags); });
}

void add_devices_command(CLI::App& app, Session& session) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand(
      "devices", "List what Wick can compute on here, and what it cannot use and why");
  command->footer("Example:\n  wick devices --json");
  command->add_flag("--json", *json, "Print a JSON object");
  command->callback([json, &session] { session.exit_code = run_devices(*json); });
}

}  // namespace wick::cli
