#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "selftest.hpp"
#include "selftest_values.hpp"
#include "wick/wick.hpp"

namespace wick::cli {

namespace {

constexpr double kLearningRateLimit = 1e-12;

// Largest errors allowed. What is rounded to 16 bits on its way has errors of its size, not of a fixed one: states and
// logits then have relative limits. Ten steps on a single batch at a high rate carry roundings far: in 16 bits they show
// that the run learns alike, no more.
struct Limits {
  double states = 2e-4;
  double loss = 1e-5;
  double gradient = 1e-3;
  double step_loss = 1e-3;
  double step_norm = 1e-3;
  double trained = 1e-3;
  double embedding = 1e-5;
};

Limits limits_of(DType dtype) {
  if (!is_half(dtype)) return {};
  const double rounding = dtype == DType::kBF16 ? 1.0 / 256 : 1.0 / 2048;
  return {.states = 8 * rounding,
          .loss = 3 * rounding,
          .gradient = 24 * rounding,
          .step_loss = 0.15,
          .step_norm = 0.4,
          .trained = 0.25,
          .embedding = 2 * rounding};
}

// AdamW divides a gradient by its own size. Where the reference's gradient is its own rounding noise, the direction of
// the first step is noise, there as here: elements below this share of their tensor's root mean square, twice the
// noise that was measured against long double, are left out of a trained tensor that is outside its limit with them, and
// counted (docs/selftest.md).
constexpr double kGradientNoise = 4e-6;
constexpr double kLeftOutLimit = 1e-3;
// The error of what was not computed at all.
constexpr double kAbsent = std::numeric_limits<double>::infinity();

// The steps that every adapter's reference run took.
constexpr std::int64_t kSteps = 10;
constexpr Schedule kSchedule{
    .type = ScheduleType::kCosine, .learning_rate = 2e-2, .warmup_steps = 2, .total_steps = kSteps};
constexpr OptimizerOptions kOptimizer{.weight_decay = 0.01, .max_grad_norm = 1.0};

class Subject {
 public:
  Subject(std::string name, const SelftestOptions& options, const ComparisonSink& sink)
      : name_(std::move(name)),
        limits_(limits_of(options.compute_dtype)),
        half_(is_half(options.compute_dtype)),
        sink_(sink) {}
  const Limits& limits() const { return limits_; }
  bool in_16_bits() const { return half_; }
  void compare(const std::string& quantity, double error, double limit) const {
    sink_({name_, quantity, error, limit});
  }
  // Hidden states or logits.
  void compare_states(const std::string& quantity, const std::vector<double>& got,
                      const std::vector<double>& expected) const {
    const double error = half_ ? relative_norm_error(got, expected) : max_abs_error(got, expected);
    compare(quantity, error, limits_.states);
  }

 private:
  std::string name_;
  Limits limits_;
  bool half_;
  const ComparisonSink& sink_;
};

// The reference shifts labels inside the model; here position t holds what follows it.
MicroBatch batch_of(const ExpectedValues& expected) {
  const Tensor ids = expected.tensor("input_ids");
  const std::vector<std::int64_t> tokens = expected.ids("input_ids");
  const std::vector<std::int64_t> labels = expected.ids("labels");
  MicroBatch batch{.batch_size = ids.dim(0), .length = ids.dim(1)};
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto position = static_cast<std::int32_t>(i % static_cast<std::size_t>(batch.length));
    const bool is_last = position + 1 == batch.length;
    batch.ids.push_back(static_cast<std::int32_t>(tokens[i]));
    batch.targets.push_back(is_last ? -100 : static_cast<std::int32_t>(labels[i + 1]));
    batch.positions.push_back(position);
    batch.segments.push_back(0);
    if (batch.targets.back() != -100) ++batch.num_targets;
  }
  batch.num_tokens = static_cast<std::int64_t>(tokens.size());
  return batch;
}

Tensor mean_loss(const CausalLm& model, const MicroBatch& batch) {
  const Shape shape{batch.batch_size, batch.length};
  const Tensor hidden = model.hidden(Tensor::from_values(batch.ids, shape, model.device()));
  return model.loss(hidden, Tensor::from_values(batch.targets, shape, model.device()));
}

std::vector<double> logits_of(const CausalLm& model, const Tensor& ids) {
  const NoGradGuard no_gradient;
  return as_doubles(model.logits(model.hidden(ids)));
}

// In memory PEFT holds a magnitude in a module of its own, with a weight; in the file the name ends before.
std::string name_in_file(const std::string& name) {
  const std::string suffix = ".weight";
  const bool is_magnitude = name.ends_with("lora_magnitude_vector" + suffix);
  return is_magnitude ? name.substr(0, name.size() - suffix.size()) : name;
}

// Runs backward() and compares every gradient that the reference gives under `prefix`.
void compare_gradients(const Subject& subject, const CausalLm& model, const MicroBatch& batch,
                       const ExpectedValues& expected,
                       const std::map<std::string, Tensor>& parameters) {
  for (const auto& [name, tensor] : parameters) tensor.set_grad(Tensor());
  const Tensor loss = mean_loss(model, batch);
  subject.compare("loss",
                  max_abs_error({static_cast<double>(loss.item<float>())}, expected.values("loss")),
                  subject.limits().loss);
  backward(loss);
  for (const std::string& name : expected.names_after("grad.")) {
    const std::vector<double> values = expected.values("grad." + name);
    const auto found = parameters.find(name_in_file(name));
    const bool computed = found != parameters.end() && found->second.grad().defined();
    subject.compare(
        "gradient of " + name,
        computed ? relative_norm_error(as_doubles(found->second.grad()), values) : kAbsent,
        subject.limits().gradient);
  }
  for (const auto& [name, tensor] : parameters) tensor.set_grad(Tensor());
}

void compare_greedy(const Subject& subject, const CausalLm& model, const ExpectedValues& expected,
                    const std::string& name, const std::vector<std::int64_t>& input_ids) {
  if (subject.in_16_bits()) return;  // near ties are decided by rounding
  const std::vector<std::int64_t> ids = expected.ids(name);
  std::size_t prompt = 0;
  while (prompt < ids.size() && prompt < input_ids.size() && ids[prompt] == input_ids[prompt]) {
    ++prompt;
  }
  const std::vector<std::vector<std::int32_t>> prompts{
      {ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(prompt)}};
  GenerateOptions options;
  options.max_new_tokens = static_cast<std::int64_t>(ids.size() - prompt);
  options.ignore_eos = true;
  const std::vector<std::int32_t> got = generate_ids(model, prompts, options)[0];
  std::size_t wrong = ids.size() - prompt - std::min(got.size(), ids.size() - prompt);
  for (std::size_t i = 0; i < got.size() && prompt + i < ids.size(); ++i) {
    if (got[i] != ids[prompt + i]) ++wrong;
  }
  subject.compare("greedy ids that differ", prompt == 0 ? kAbsent : static_cast<double>(wrong), 0);
}

// Sets the elements of `got` whose first gradient is noise to what is expected; returns how many.
std::size_t leave_out_noise(const std::vector<double>& gradient,
                            const std::vector<double>& expected, std::vector<double>& got) {
  if (gradient.size() != got.size() || expected.size() != got.size()) return 0;
  double squares = 0;
  for (const double g : gradient) squares += g * g;
  const double threshold = kGradientNoise * std::sqrt(squares / static_cast<double>(got.size()));
  std::size_t count = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    // A gradient that is zero by construction is none that noise could turn.
    if (gradient[i] == 0 || std::abs(gradient[i]) >= threshold) continue;
    got[i] = expected[i];
    ++count;
  }
  return count;
}

void compare_trained(const Subject& subject, const ExpectedValues& expected,
                     const NamedTensors& tensors) {
  const std::map<std::string, Tensor> trained(tensors.begin(), tensors.end());
  std::size_t left_out = 0;
  std::size_t elements = 0;
  for (const std::string& name : expected.names_after("trained.")) {
    const std::vector<double> values = expected.values("trained." + name);
    const auto found = trained.find(name_in_file(name));
    double error = kAbsent;
    std::string note;
    if (found != trained.end()) {
      std::vector<double> got = as_doubles(found->second);
      elements += got.size();
      error = relative_norm_error(got, values);
      if (error > subject.limits().trained && expected.contains("grad." + name)) {
        const std::size_t count = leave_out_noise(expected.values("grad." + name), values, got);
        if (count > 0) note = fmt::format(" ({} left out, {:.3g} with them)", count, error);
        left_out += count;
        error = relative_norm_error(got, values);
      }
    }
    subject.compare(fmt::format("trained {}{}", name, note), error, subject.limits().trained);
  }
  if (elements == 0) return;
  subject.compare("share of trained elements left out",
                  static_cast<double>(left_out) / static_cast<double>(elements), kLeftOutLimit);
}

void compare_training(const Subject& subject, const CausalLm& model, const MicroBatch& batch,
                      const ExpectedValues& expected, const LoraAdapter& adapter) {
  const std::vector<double> losses = expected.values("train.losses");
  const std::vector<double> norms = expected.values("train.grad_norms");
  const std::vector<double> rates = expected.values("train.lrs");
  Optimizer optimizer(model, adapter.tensors(), kOptimizer);
  for (std::int64_t step = 1; step <= kSteps; ++step) {
    const auto at = static_cast<std::size_t>(step - 1);
    const std::string label = " of step " + std::to_string(step);
    const double rate = kSchedule.at(step);
    const StepReport report = *optimizer.step(std::span(&batch, 1), rate, 0);
    subject.compare("loss" + label, relative_error(report.loss, losses.at(at)),
                    subject.limits().step_loss);
    subject.compare("gradient norm" + label, relative_error(report.grad_norm, norms.at(at)),
                    subject.limits().step_norm);
    subject.compare("learning rate" + label, std::abs(rate - rates.at(at)), kLearningRateLimit);
  }
  compare_trained(subject, expected, adapter.tensors());
}

void compare_adapter(const std::filesystem::path& folder, const std::filesystem::path& model_folder,
                     const ExpectedValues& base, const SelftestOptions& options,
                     const ComparisonSink& sink) {
  const Subject subject(model_folder.filename().string() + "/" + folder.filename().string(),
                        options, sink);
  const ExpectedValues expected(folder / "expected.safetensors");
  // In 16 bits with weights of 16 bits, as adapters are trained.
  const auto model = CausalLm::load(model_folder, {.device = options.device,
                                                   .dtype = options.compute_dtype,
                                                   .compute_dtype = options.compute_dtype});
  const std::shared_ptr<LoraAdapter> adapter = model->load_adapter("default", folder);
  model->set_active_adapters({{"default"}});
  adapter->set_trainable(true);
  const Tensor ids = base.tensor("input_ids").to(options.device);
  const MicroBatch batch = batch_of(base);
  subject.compare_states("logits", logits_of(*model, ids), expected.values("logits"));
  const NamedTensors tensors = adapter->tensors();
  compare_gradients(subject, *model, batch, expected, {tensors.begin(), tensors.end()});
  if (!expected.contains("train.losses")) return;
  compare_training(subject, *model, batch, expected, *adapter);
  // Ten steps away from the same start, two runs differ as their trained tensors may.
  subject.compare("logits after training",
                  relative_norm_error(logits_of(*model, ids), expected.values("trained_logits")),
                  subject.limits().trained);
  model->merge_adapters();
  subject.compare("merged logits",
                  relative_norm_error(logits_of(*model, ids), expected.values("merged_logits")),
                  subject.limits().trained);
  compare_greedy(subject, *model, expected, "merged_greedy_ids", base.ids("input_ids"));
}

// How the reference made its rotary frequencies. PyTorch's model.to(bfloat16) rounds them too, and a reference that was
// computed after it has other logits than one loaded from the same file: both are accepted, whichever is nearer in f32.
LoadOptions options_of_reference(const std::filesystem::path& folder, Device device,
                                 const ExpectedValues& expected, std::string& name) {
  LoadOptions options{.device = device, .dtype = DType::kF32, .compute_dtype = DType::kF32};
  const double limit = Limits().states;
  const auto model = CausalLm::load(folder, options);
  const Tensor ids = expected.tensor("input_ids").to(device);
  const std::vector<double> logits = expected.values("logits");
  const std::string& stored = model->config().dtype;
  const bool may_be_rounded = stored == "bfloat16" || stored == "float16";
  if (!may_be_rounded || max_abs_error(logits_of(*model, ids), logits) <= limit) return options;
  LoadOptions rounded = options;
  rounded.rope_dtype = stored == "bfloat16" ? DType::kBF16 : DType::kF16;
  const auto other = CausalLm::load(folder, rounded);
  if (!(max_abs_error(logits_of(*other, ids), logits) <= limit)) return options;
  name += " (rotary frequencies in " + stored + ")";
  return rounded;
}

void compare_decoder(const std::filesystem::path& folder, const SelftestOptions& options,
                     const ComparisonSink& sink) {
  const ExpectedValues expected(folder / "expected.safetensors");
  std::string name = folder.filename().string();
  // Its weights are trained below, so they are f32 under activations of any dtype.
  LoadOptions load = options_of_reference(folder, options.device, expected, name);
  load.compute_dtype = options.compute_dtype;
  const auto model = CausalLm::load(folder, load);
  const Subject subject(name, options, sink);
  const Tensor ids = expected.tensor("input_ids").to(options.device);
  {
    const NoGradGuard no_gradient;
    const Tensor hidden = model->hidden(ids);
    subject.compare_states("last hidden state", as_doubles(hidden), expected.values("hidden_last"));
    subject.compare_states("logits", as_doubles(model->logits(hidden)), expected.values("logits"));
  }
  model->set_trainable(true);
  const NamedTensors& parameters = model->parameters();
  compare_gradients(subject, *model, batch_of(expected), expected,
                    {parameters.begin(), parameters.end()});
  model->set_trainable(false);
  compare_greedy(subject, *model, expected, "greedy_ids", expected.ids("input_ids"));
  const std::filesystem::path adapters = folder / "adapters";
  if (!std::filesystem::exists(adapters)) return;
  std::vector<std::filesystem::path> folders;
  for (const auto& entry : std::filesystem::directory_iterator(adapters)) {
    if (entry.is_directory()) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  for (const auto& adapter : folders) compare_adapter(adapter, folder, expected, options, sink);
}

void compare_encoder(const std::filesystem::path& folder, const SelftestOptions& options,
                     const ComparisonSink& sink) {
  const Device device = options.device;
  const Subject subject(folder.filename().string(), options, sink);
  const ExpectedValues expected(folder / "expected.safetensors");
  const auto model = TextEncoder::load(
      folder,
      {.device = device, .dtype = options.compute_dtype, .compute_dtype = options.compute_dtype});
  const Tensor ids = expected.tensor("input_ids").to(device);
  const NoGradGuard no_gradient;
  const Tensor mask = cast(expected.tensor("attention_mask").to(device), DType::kBool);
  std::vector<double> states = as_doubles(model->hidden(ids, mask));
  std::vector<double> reference = expected.values("last_hidden_state");
  // What stands at padding is nobody's business.
  const std::vector<std::int64_t> kept = expected.ids("attention_mask");
  const std::size_t width = states.size() / kept.size();
  for (std::size_t i = 0; i < states.size() && i < reference.size(); ++i) {
    if (kept[i / width] == 0) states[i] = reference[i] = 0;
  }
  subject.compare_states("last hidden state", states, reference);
  subject.compare("embedding",
                  max_abs_error(as_doubles(model->embed(ids, mask)), expected.values("embedding")),
                  subject.limits().embedding);
}

}  // namespace

void compare_model(const std::filesystem::path& folder, const SelftestOptions& options,
                   const ComparisonSink& sink) {
  if (load_model_config(folder).family == ModelFamily::kEncoder) {
    compare_encoder(folder, options, sink);
  } else {
    compare_decoder(folder, options, sink);
  }
}

}  // namespace wick::cli
