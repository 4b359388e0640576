// An adapter_config.json: a configuration that is the same after it is written and read, or an Error.
#include "fuzz/fuzz_support.hpp"
#include "wick/base/error.hpp"
#include "wick/nn/lora_config.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  wick::LoraConfig config;
  try {
    config = wick::parse_lora_config(wick::text_of(data, size), "adapter_config.json");
  } catch (const wick::Error& error) {
    wick::require(error.kind() == wick::ErrorKind::kParse ||
                  error.kind() == wick::ErrorKind::kUnsupported);
    return 0;
  }
  const std::string written = wick::to_json(config);
  wick::require(wick::to_json(wick::parse_lora_config(written, "written")) == written);
  return 0;
}
