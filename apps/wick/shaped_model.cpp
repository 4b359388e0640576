#include "shaped_model.hpp"

#include "bench_shapes.hpp"
#include "text.hpp"

namespace wick::cli {

void ShapedModelFlags::add_to(CLI::App& command) {
  ModelFlags::add_to(command);
  add_compute_dtype_to(command);
  command.get_option("--model")->required(false);
  command.add_option(
      "--shape", shape,
      "Instead of --model: random weights, bf16 unless --dtype says otherwise, in the shape of " +
          shape_names() + " or of a config.json");
}

std::shared_ptr<CausalLm> ShapedModelFlags::make(const std::string& op) const {
  if (shape.empty() == model.empty()) {
    throw Error(ErrorKind::kArgument, op, "give --model or --shape, one of them");
  }
  if (shape.empty()) return load_causal_lm();
  if (!adapters.empty()) {
    throw Error(ErrorKind::kArgument, op, "--adapter needs --model");
  }
  apply_num_threads(num_threads);
  const Device on = parse_device(device);
  const DType stored = parse_dtype(dtype).value_or(DType::kBF16);
  const DType on_gpu = is_half(stored) ? stored : DType::kF32;
  const DType compute =
      parse_dtype(compute_dtype).value_or(on.type == DeviceType::kCpu ? DType::kF32 : on_gpu);
  return CausalLm::create(config_of_shape(shape), 0, on, compute, stored);
}

std::shared_ptr<LoraAdapter> adapter_of(CausalLm& model, std::int64_t rank,
                                        const std::string& name) {
  if (model.adapters().empty()) {
    const LoraConfig config{.r = rank,
                            .lora_alpha = 2.0 * static_cast<double>(rank),
                            .target_modules = {.all_linear = true}};
    model.add_adapter(name, LoraAdapter::create(config, model.lora_host(), 0));
    model.set_active_adapters({{name}});
  }
  return model.adapters().begin()->second;
}

MicroBatch random_batch(const CausalLm& model, std::int64_t rows, std::int64_t length) {
  MicroBatch batch{.batch_size = rows, .length = length, .num_targets = rows * (length - 1)};
  batch.num_tokens = rows * length;
  std::uint64_t state = 1;
  for (std::int64_t i = 0; i < batch.num_tokens; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const auto id = static_cast<std::int32_t>(
        (state >> 33) % static_cast<std::uint64_t>(model.config().vocab_size));
    const std::int64_t position = i % length;
    batch.ids.push_back(id);
    if (position > 0) batch.targets.push_back(id);
    if (position + 1 == length) batch.targets.push_back(-100);
    batch.positions.push_back(static_cast<std::int32_t>(position));
    batch.segments.push_back(0);
  }
  return batch;
}

}  // namespace wick::cli
