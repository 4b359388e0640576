#include "backends/cuda/cudnn_attention.hpp"

#include <bit>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "backends/cuda/cuda_backend.hpp"
#include "backends/cuda/cudnn_attention_graphs.hpp"
#include "wick/base/error.hpp"

namespace wick::cuda {

namespace {

// Of 16-byte rows with fewer queries our own kernels fill the chip better, and lengths that grow by one token
// would ask for a plan each.
constexpr std::int64_t kFewestQueries = 32;
// For the gradient of the scores, which makes dq the same bits each time.
constexpr std::int64_t kMostScoreBytes = std::int64_t{1} << 30;
// Plans take host memory and some of the driver's: forgotten all at once when shapes keep changing.
constexpr std::size_t kMostPlans = 256;

// A graph, or why there is none.
struct Plan {
  std::optional<CudnnGraph> graph;
  std::string problem;
};

using Key = std::vector<std::int64_t>;

Key key_of(const AttentionShapes& x, std::int64_t kind) {
  Key key{kind,
          x.B,
          x.T,
          x.S,
          x.H,
          x.Hkv,
          x.Dh,
          static_cast<std::int64_t>(x.dtype),
          x.causal ? 1 : 0,
          x.window,
          std::bit_cast<std::int32_t>(x.scale)};
  for (const FourAxes* strides :
       {&x.q_strides, &x.k_strides, &x.v_strides, &x.query_strides, &x.key_strides}) {
    key.insert(key.end(), strides->begin(), strides->end());
  }
  return key;
}

bool suits(const TensorView& x) {
  // SAFETY: the address is only looked at for its low bits.
  if (reinterpret_cast<std::uintptr_t>(x.data) % 16 != 0) return false;
  for (int axis = 0; axis < 3; ++axis) {
    if (x.dim(axis) > 1 && (x.stride(axis) % 8 != 0 || x.stride(axis) <= 0)) return false;
  }
  return true;
}

// What no graph of ours says to cuDNN; empty when it may be asked.
std::string refusal(const TensorView& q, const TensorView& k, const TensorView& v,
                    const AttentionMask& mask) {
  if (!Cudnn::get().problem().empty()) return Cudnn::get().problem();
  if (q.dtype != DType::kF16 && q.dtype != DType::kBF16) return "neither f16 nor bf16";
  if (mask.key_mask || mask.segments) return "a mask by keys or documents";
  if (q.numel() == 0 || k.numel() == 0) return "nothing to compute";
  if (q.dim(1) < kFewestQueries) return "few queries";
  if (q.dim(1) > k.dim(1) && (mask.causal || mask.window != 0))
    return "queries before the first key";
  if (q.dim(3) % 8 != 0) return "a head size that is no multiple of 8";
  if (!suits(q) || !suits(k) || !suits(v)) return "operands that are not aligned to 16 bytes";
  return {};
}

// Known faults of some versions: NVIDIA's own front end avoids the same.
bool computes_wrongly(const AttentionShapes& x, bool backward) {
  const std::size_t version = Cudnn::get().cudnnGetVersion();
  if (backward && version <= 91500 && x.S % 128 != 0) return true;
  return version == 91400 && !x.causal && x.window != 0 && x.S > 1024;
}

std::int64_t score_bytes(const AttentionShapes& x) {
  const auto padded = [](std::int64_t n) { return (n + 127) / 128 * 128; };
  return x.B * x.H * padded(x.T) * padded(x.S) * 2;
}

// The largest equal parts whose scores fit: of the batch, or of a row's key heads. Nothing when those of one are too many.
std::optional<AttentionShapes> part_that_fits(const AttentionShapes& whole) {
  const auto largest = [](std::int64_t count, const auto& part) -> std::optional<AttentionShapes> {
    for (std::int64_t size = count; size > 0; --size) {
      if (count % size == 0 && score_bytes(part(size)) <= kMostScoreBytes) return part(size);
    }
    return std::nullopt;
  };
  const auto rows = [&](std::int64_t size) { return whole.part(size, whole.Hkv); };
  const auto heads = [&](std::int64_t size) { return whole.part(1, size); };
  const auto of_batch = largest(whole.B, rows);
  return of_batch ? of_batch : largest(whole.Hkv, heads);
}

// Where a row of the batch and a head of x [B,N,heads,Dh] begin.
void* begin_of(const TensorView& x, std::int64_t row, std::int64_t head) {
  const std::int64_t elements = row * x.stride(0) + head * x.stride(2);
  return static_cast<std::byte*>(x.data) + elements * static_cast<std::int64_t>(size_of(x.dtype));
}

// x, or memory that takes its place.
TensorView or_scratch(const TensorView& x, const TensorView& like, const Scratch& scratch) {
  if (x) return x;
  const std::int64_t head = like.dim(3), token = like.dim(2) * head;
  TensorView instead = like;
  instead.data = scratch.data();
  instead.strides = {like.dim(1) * token, token, head, 1};
  return instead;
}

}  // namespace

struct CudnnAttention::State {
  explicit State(CudaBackend& owner) : backend(owner) {}
  ~State() {
    plans.clear();
    if (handle != nullptr) Cudnn::get().cudnnDestroy(handle);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // The plan of a key, made by `fill` at first. Call with the mutex held.
  template <class Fill>
  const Plan& plan(const Key& key, const Fill& fill) {
    const auto known = plans.find(key);
    if (known != plans.end()) return known->second;
    if (plans.size() >= kMostPlans) plans.clear();
    backend.make_current();
    if (handle == nullptr) check(Cudnn::get().cudnnCreate(&handle), "cudnnCreate");
    Plan made;
    try {
      fill(made.graph.emplace());
      made.graph->build(handle);
    } catch (const Error& error) {
      made = {.graph = std::nullopt, .problem = error.what()};
    }
    return plans.emplace(key, std::move(made)).first->second;
  }

  // Enqueues a plan's graph. Call with the mutex held.
  void run(Stream& stream, const CudnnGraph& graph, const std::vector<CudnnBinding>& bindings) {
    const Scratch workspace(stream, static_cast<std::size_t>(graph.workspace_bytes()));
    check(Cudnn::get().cudnnSetStream(handle, activate(stream)), "cudnnSetStream");
    graph.run(handle, bindings, workspace.data());
  }

  CudaBackend& backend;
  std::mutex mutex;
  cudnnHandle_t handle = nullptr;
  std::map<Key, Plan> plans;
};

CudnnAttention::CudnnAttention(CudaBackend& backend) : state_(std::make_unique<State>(backend)) {}
CudnnAttention::~CudnnAttention() = default;

KernelStatus CudnnAttention::forward(Stream& stream, const AttentionArgs& a) {
  if (const std::string reason = refusal(a.q, a.k, a.v, a.mask); !reason.empty()) {
    return KernelStatus::unsupported(reason);
  }
  const AttentionShapes shapes(a.q, a.k, a.v, a.mask, a.scale);
  if (computes_wrongly(shapes, false)) return KernelStatus::unsupported("a fault of this cuDNN");
  const bool with_lse = static_cast<bool>(a.lse);
  const std::lock_guard lock(state_->mutex);
  const Plan& plan = state_->plan(key_of(shapes, with_lse ? 1 : 0), [&](CudnnGraph& graph) {
    add_attention(graph, shapes, with_lse);
  });
  if (!plan.graph) return KernelStatus::unsupported(plan.problem);
  std::vector<CudnnBinding> bindings{
      {kQueries, a.q.data}, {kKeys, a.k.data}, {kValues, a.v.data}, {kOut, a.out.data}};
  if (with_lse) bindings.push_back({kLse, a.lse.data});
  state_->run(stream, *plan.graph, bindings);
  return KernelStatus::ok();
}

KernelStatus CudnnAttention::backward(Stream& stream, const AttentionBackwardArgs& a) {
  if (const std::string reason = refusal(a.q, a.k, a.v, a.mask); !reason.empty()) {
    return KernelStatus::unsupported(reason);
  }
  const AttentionShapes whole(a.q, a.k, a.v, a.mask, a.scale);
  if (computes_wrongly(whole, true)) return KernelStatus::unsupported("a fault of this cuDNN");
  const std::optional<AttentionShapes> part = part_that_fits(whole);
  if (!part) return KernelStatus::unsupported("too many scores");
  const std::lock_guard lock(state_->mutex);
  const Plan& plan = state_->plan(
      key_of(*part, 2), [&](CudnnGraph& graph) { add_attention_backward(graph, *part, true); });
  if (!plan.graph) return KernelStatus::unsupported(plan.problem);
  // cuDNN makes all three gradients: those that are not wanted go to scratch memory.
  const auto bytes = [](const TensorView& wanted, const TensorView& like) {
    return wanted ? 0 : static_cast<std::size_t>(like.numel()) * size_of(like.dtype);
  };
  const Scratch unwanted_dq(stream, bytes(a.dq, a.q));
  const Scratch unwanted_dk(stream, bytes(a.dk, a.k));
  const Scratch unwanted_dv(stream, bytes(a.dv, a.v));
  const Scratch row_sums(stream, static_cast<std::size_t>(a.lse.numel()) * sizeof(float));
  const TensorView dq = or_scratch(a.dq, a.q, unwanted_dq);
  const TensorView dk = or_scratch(a.dk, a.k, unwanted_dk);
  const TensorView dv = or_scratch(a.dv, a.v, unwanted_dv);
  for (std::int64_t row = 0; row < whole.B; row += part->B) {
    for (std::int64_t key_head = 0; key_head < whole.Hkv; key_head += part->Hkv) {
      const std::int64_t head = key_head * (whole.H / whole.Hkv);
      const std::int64_t first_sum = (row * whole.H + head) * whole.T;
      state_->run(stream, *plan.graph,
                  {{kQueries, begin_of(a.q, row, head)},
                   {kKeys, begin_of(a.k, row, key_head)},
                   {kValues, begin_of(a.v, row, key_head)},
                   {kOut, begin_of(a.out, row, head)},
                   {kLse, static_cast<float*>(a.lse.data) + first_sum},
                   {kOutGradient, begin_of(a.dout, row, head)},
                   {kQueryGradient, begin_of(dq, row, head)},
                   {kKeyGradient, begin_of(dk, row, key_head)},
                   {kValueGradient, begin_of(dv, row, key_head)},
                   {kRowSums, row_sums.as<float>() + first_sum}});
    }
  }
  return KernelStatus::ok();
}

}  // namespace wick::cuda
