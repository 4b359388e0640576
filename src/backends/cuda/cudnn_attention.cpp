#include "backends/cuda/cudnn_attention.hpp"

#include <bit>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "backends/cuda/attention_cut.hpp"
#include "backends/cuda/cuda_backend.hpp"
#include "backends/cuda/cuda_check.hpp"
#include "backends/cuda/cudnn_attention_graphs.hpp"
#include "backends/cuda/key_gradient_sums.hpp"
#include "wick/base/error.hpp"

namespace wick::cuda {

namespace {

// Of 16-byte rows with fewer queries our own kernels fill the chip better, and lengths that grow by one token
// would ask for a plan each.
constexpr std::int64_t kFewestQueries = 32;
// Of 16 bits, for the gradient of the scores, which makes dq the same bits each time: 1 GiB.
constexpr std::int64_t kMostScores = std::int64_t{1} << 29;
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
  for (const FourAxes* strides : {&x.q_strides, &x.k_strides, &x.v_strides, &x.query_strides,
                                  &x.key_strides, &x.lse_strides}) {
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

// Where a row of the batch, a token and a head of x [B,N,heads,Dh] begin.
void* begin_of(const TensorView& x, std::int64_t row, std::int64_t token, std::int64_t head) {
  const std::int64_t elements = row * x.stride(0) + token * x.stride(1) + head * x.stride(2);
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

  // The graphs of pieces, all before the first of them runs. Call with the mutex held.
  KernelStatus plan_pieces(const AttentionShapes& whole, const AttentionCut& cut,
                           std::vector<const CudnnGraph*>& graphs) {
    // None of them may be forgotten for another; they have at most half as many shapes.
    if (plans.size() > kMostPlans / 2) plans.clear();
    for (const AttentionPiece& piece : cut.pieces) {
      const AttentionShapes shapes = whole.of(piece, cut.shares_keys);
      if (computes_wrongly(shapes, true)) return KernelStatus::unsupported("a fault of this cuDNN");
      const Plan& made = plan(key_of(shapes, 2), [&](CudnnGraph& graph) {
        add_attention_backward(graph, shapes, true);
      });
      if (!made.graph) return KernelStatus::unsupported(made.problem);
      graphs.push_back(&*made.graph);
    }
    return KernelStatus::ok();
  }

  // Enqueues the graph of a piece of the gradient. Call with the mutex held.
  void run_piece(Stream& stream, const AttentionBackwardArgs& a, const AttentionPiece& piece,
                 const CudnnGraph& graph, void* dk, void* dv) {
    const Scratch row_sums(
        stream, static_cast<std::size_t>(piece.rows * piece.heads * piece.queries) * sizeof(float));
    const auto of_queries = [&](const TensorView& x) {
      return begin_of(x, piece.row, piece.query, piece.head);
    };
    const auto of_keys = [&](const TensorView& x) {
      return begin_of(x, piece.row, piece.key, piece.key_head);
    };
    const std::int64_t first_lse = (piece.row * a.q.dim(2) + piece.head) * a.q.dim(1) + piece.query;
    run(stream, graph,
        {{kQueries, of_queries(a.q)},
         {kKeys, of_keys(a.k)},
         {kValues, of_keys(a.v)},
         {kOut, of_queries(a.out)},
         {kLse, static_cast<float*>(a.lse.data) + first_lse},
         {kOutGradient, of_queries(a.dout)},
         {kQueryGradient, of_queries(a.dq)},
         {kKeyGradient, dk},
         {kValueGradient, dv},
         {kRowSums, row_sums.data()}});
  }

  // Pieces of the same keys: their dk and dv are added up in f32, for one key head of one row after the other.
  void run_pieces_of_keys(Stream& stream, const AttentionBackwardArgs& a, const AttentionCut& cut,
                          const std::vector<const CudnnGraph*>& graphs) {
    const std::int64_t Dh = a.k.dim(3);
    const auto count = static_cast<std::size_t>(a.k.dim(1) * Dh);
    const Scratch dk(stream, count * size_of(a.k.dtype)), dv(stream, count * size_of(a.k.dtype));
    const Scratch sums(stream, 2 * count * sizeof(float));
    float* const dk_sums = sums.as<float>();
    float* const dv_sums = dk_sums + count;
    for (std::size_t i = 0; i < cut.pieces.size(); ++i) {
      const AttentionPiece& piece = cut.pieces[i];
      const auto is_of_same_keys = [&](std::size_t other) {
        return other < cut.pieces.size() && cut.pieces[other].row == piece.row &&
               cut.pieces[other].key_head == piece.key_head;
      };
      if (i == 0 || !is_of_same_keys(i - 1)) {
        check(cudaMemsetAsync(dk_sums, 0, 2 * count * sizeof(float), activate(stream)),
              "cudaMemsetAsync");
      }
      run_piece(stream, a, piece, *graphs[i], dk.data(), dv.data());
      const std::int64_t first = piece.key * Dh;
      add_key_gradients(stream, a.k.dtype, dk.data(), dk_sums + first, piece.keys * Dh);
      add_key_gradients(stream, a.k.dtype, dv.data(), dv_sums + first, piece.keys * Dh);
      if (is_of_same_keys(i + 1)) continue;
      store_key_gradients(stream, dk_sums, a.dk, piece.row, piece.key_head);
      store_key_gradients(stream, dv_sums, a.dv, piece.row, piece.key_head);
    }
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
  const AttentionCut cut = cut_attention(whole.sizes(), kMostScores);
  if (cut.pieces.empty()) return KernelStatus::unsupported("too many scores");
  const std::lock_guard lock(state_->mutex);
  std::vector<const CudnnGraph*> graphs;
  if (KernelStatus status = state_->plan_pieces(whole, cut, graphs); !status.is_ok()) return status;
  // cuDNN makes all three gradients: those that are not wanted go to scratch memory.
  const auto bytes = [](const TensorView& wanted, const TensorView& like) {
    return wanted ? 0 : static_cast<std::size_t>(like.numel()) * size_of(like.dtype);
  };
  const Scratch unwanted_dq(stream, bytes(a.dq, a.q));
  const Scratch unwanted_dk(stream, bytes(a.dk, a.k));
  const Scratch unwanted_dv(stream, bytes(a.dv, a.v));
  AttentionBackwardArgs all = a;
  all.dq = or_scratch(a.dq, a.q, unwanted_dq);
  all.dk = or_scratch(a.dk, a.k, unwanted_dk);
  all.dv = or_scratch(a.dv, a.v, unwanted_dv);
  if (cut.shares_keys) {
    state_->run_pieces_of_keys(stream, all, cut, graphs);
  } else {
    for (std::size_t i = 0; i < cut.pieces.size(); ++i) {
      const AttentionPiece& piece = cut.pieces[i];
      state_->run_piece(stream, all, piece, *graphs[i],
                        begin_of(all.dk, piece.row, 0, piece.key_head),
                        begin_of(all.dv, piece.row, 0, piece.key_head));
    }
  }
  return KernelStatus::ok();
}

}  // namespace wick::cuda
