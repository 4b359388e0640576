#include "backends/cuda/products.hpp"

#include <algorithm>
#include <bit>
#include <optional>

#include "backends/cuda/cublaslt.hpp"
#include "backends/cuda/cuda_backend.hpp"
#include "base/check.hpp"

namespace wick::cuda {

namespace {

// What NVIDIA recommends for Hopper; older chips ask for less.
constexpr std::size_t kMostWorkspace = std::size_t{32} << 20;

cudaDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return CUDA_R_16F;
    case DType::kBF16:
      return CUDA_R_16BF;
    default:
      return CUDA_R_32F;
  }
}

// A row-major matrix [rows, columns] as cuBLASLt sees it, column by column: `transposed` when our rows are
// dense in memory along the other axis.
struct Seen {
  bool transposed;
  std::int64_t leading;
};

// Rows of a matrix are columns for cuBLASLt; nothing where neither axis is dense.
std::optional<Seen> see(const Matrix& m, std::int64_t rows, std::int64_t columns) {
  if ((m.column_stride == 1 || columns == 1) && (m.row_stride >= columns || rows == 1)) {
    return Seen{false, rows == 1 ? columns : m.row_stride};
  }
  if ((m.row_stride == 1 || rows == 1) && (m.column_stride >= rows || columns == 1)) {
    return Seen{true, columns == 1 ? rows : m.column_stride};
  }
  return std::nullopt;
}

// The step of a single row may be anything.
std::int64_t leading_of_result(const Product& p) { return p.M == 1 ? p.N : p.c_row_stride; }

std::int64_t alignment_of(const void* data, std::int64_t batch_bytes) {
  // SAFETY: the address is only looked at for its low bits.
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  const auto bits = static_cast<std::uint64_t>(address) | static_cast<std::uint64_t>(batch_bytes);
  return bits == 0 ? 256 : std::min(256, 1 << std::min(8, std::countr_zero(bits)));
}

std::int64_t bytes_of(DType dtype, std::int64_t elements) {
  return elements * static_cast<std::int64_t>(size_of(dtype));
}

// cuBLASLt's descriptors; destroyed with the call that made them.
class Description {
 public:
  Description(bool transpose_first, bool transpose_second, const void* bias, DType bias_dtype) {
    check(lt_.cublasLtMatmulDescCreate(&description_, CUBLAS_COMPUTE_32F, CUDA_R_32F),
          "cublasLtMatmulDescCreate");
    set(CUBLASLT_MATMUL_DESC_TRANSA, transpose_first ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, transpose_second ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (bias == nullptr) return;
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(bias_dtype));
  }
  ~Description() { lt_.cublasLtMatmulDescDestroy(description_); }
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;
  cublasLtMatmulDesc_t get() const noexcept { return description_; }

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    check(lt_.cublasLtMatmulDescSetAttribute(description_, attribute, &value, sizeof(value)),
          "cublasLtMatmulDescSetAttribute");
  }
  const CublasLt& lt_ = CublasLt::get();
  cublasLtMatmulDesc_t description_ = nullptr;
};

// A matrix [rows, columns], column-major for cuBLASLt.
class MatrixLayout {
 public:
  MatrixLayout(DType dtype, std::int64_t rows, std::int64_t columns, std::int64_t leading,
               std::int64_t batches, std::int64_t batch_stride) {
    check(lt_.cublasLtMatrixLayoutCreate(&layout_, type_of(dtype), static_cast<std::uint64_t>(rows),
                                         static_cast<std::uint64_t>(columns), leading),
          "cublasLtMatrixLayoutCreate");
    if (batches == 1) return;
    const auto count = static_cast<std::int32_t>(batches);
    set(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, count);
    set(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, batch_stride);
  }
  ~MatrixLayout() { lt_.cublasLtMatrixLayoutDestroy(layout_); }
  MatrixLayout(const MatrixLayout&) = delete;
  MatrixLayout& operator=(const MatrixLayout&) = delete;
  cublasLtMatrixLayout_t get() const noexcept { return layout_; }

 private:
  template <class T>
  void set(cublasLtMatrixLayoutAttribute_t attribute, const T& value) {
    check(lt_.cublasLtMatrixLayoutSetAttribute(layout_, attribute, &value, sizeof(value)),
          "cublasLtMatrixLayoutSetAttribute");
  }
  const CublasLt& lt_ = CublasLt::get();
  cublasLtMatrixLayout_t layout_ = nullptr;
};

class Preference {
 public:
  Preference() {
    check(lt_.cublasLtMatmulPreferenceCreate(&preference_), "cublasLtMatmulPreferenceCreate");
  }
  ~Preference() { lt_.cublasLtMatmulPreferenceDestroy(preference_); }
  Preference(const Preference&) = delete;
  Preference& operator=(const Preference&) = delete;
  cublasLtMatmulPreference_t get() const noexcept { return preference_; }

  template <class T>
  void set(cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
    check(lt_.cublasLtMatmulPreferenceSetAttribute(preference_, attribute, &value, sizeof(value)),
          "cublasLtMatmulPreferenceSetAttribute");
  }

 private:
  const CublasLt& lt_ = CublasLt::get();
  cublasLtMatmulPreference_t preference_ = nullptr;
};

}  // namespace

// Our row-major c = a b is cuBLASLt's column-major cᵀ = bᵀ aᵀ: the operands change places.
struct Products::Call {
  Call(const Product& p, const Seen& a_seen, const Seen& b_seen)
      : description(b_seen.transposed, a_seen.transposed, p.bias, p.c_dtype),
        first(p.b.dtype, b_seen.transposed ? p.K : p.N, b_seen.transposed ? p.N : p.K,
              b_seen.leading, p.G, p.b.batch_stride),
        second(p.a.dtype, a_seen.transposed ? p.M : p.K, a_seen.transposed ? p.K : p.M,
               a_seen.leading, p.G, p.a.batch_stride),
        result(p.c_dtype, p.N, p.M, leading_of_result(p), p.G, p.c_batch_stride) {}

  Description description;
  MatrixLayout first;
  MatrixLayout second;
  MatrixLayout result;
};

Products::Products(CudaBackend& backend) : backend_(backend) {
  check(CublasLt::get().cublasLtCreate(&handle_), "cublasLtCreate");
}

Products::~Products() { CublasLt::get().cublasLtDestroy(handle_); }

std::string Products::missing_library() {
  return CublasLt::get().loaded() ? "" : CublasLt::get().problem();
}

Products::Choice Products::choose(const Key& key, const Call& call) {
  const std::lock_guard lock(mutex_);
  const auto known = choices_.find(key);
  if (known != choices_.end()) return known->second;
  Preference preference;
  preference.set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kMostWorkspace);
  // Parts of a sum are added in f32, never in the result's dtype.
  preference.set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                 std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<std::uint32_t>(key[0]));
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<std::uint32_t>(key[1]));
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<std::uint32_t>(key[2]));
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<std::uint32_t>(key[2]));
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  const cublasStatus_t status = CublasLt::get().cublasLtMatmulAlgoGetHeuristic(
      handle_, call.description.get(), call.first.get(), call.second.get(), call.result.get(),
      call.result.get(), preference.get(), 1, &best, &found);
  Choice choice;
  if (status == CUBLAS_STATUS_SUCCESS && found > 0) {
    choice = {.algorithm = best.algo, .workspace = best.workspaceSize, .found = true};
  }
  choices_.emplace(key, choice);
  return choice;
}

KernelStatus Products::run(Stream& stream, const Product& p) {
  detail::check(p.M > 0 && p.N > 0 && p.K > 0 && p.G > 0, "cuBLASLt was given an empty product");
  if (p.a.dtype != p.b.dtype) return KernelStatus::unsupported("operands of different dtypes");
  if (p.c_dtype != p.a.dtype && p.c_dtype != DType::kF32) {
    return KernelStatus::unsupported("a result that is neither f32 nor of the operands' dtype");
  }
  const std::optional<Seen> a = see(p.a, p.M, p.K);
  const std::optional<Seen> b = see(p.b, p.K, p.N);
  if (!a || !b) return KernelStatus::unsupported("an operand is dense along neither axis");
  const Call call(p, *a, *b);
  const std::int64_t c_leading = leading_of_result(p);
  const auto aligned = [&](const void* data, DType dtype, std::int64_t leading,
                           std::int64_t batch_stride) {
    return alignment_of(data, bytes_of(dtype, leading) | bytes_of(dtype, batch_stride));
  };
  const std::int64_t flags = (a->transposed ? 1 : 0) | (b->transposed ? 2 : 0) |
                             (p.bias != nullptr ? 4 : 0) | (p.beta != 0 ? 8 : 0);
  const Key key{aligned(p.b.data, p.b.dtype, b->leading, p.b.batch_stride),
                aligned(p.a.data, p.a.dtype, a->leading, p.a.batch_stride),
                aligned(p.c, p.c_dtype, c_leading, p.c_batch_stride),
                p.G,
                p.M,
                p.N,
                p.K,
                a->leading,
                b->leading,
                c_leading,
                p.a.batch_stride,
                p.b.batch_stride,
                p.c_batch_stride,
                static_cast<std::int64_t>(p.a.dtype),
                static_cast<std::int64_t>(p.c_dtype),
                flags};
  const Choice choice = choose(key, call);
  if (!choice.found) return KernelStatus::unsupported("cuBLASLt has no algorithm for this product");
  const Scratch workspace(stream, choice.workspace);
  check(CublasLt::get().cublasLtMatmul(handle_, call.description.get(), &p.alpha, p.b.data,
                                       call.first.get(), p.a.data, call.second.get(), &p.beta, p.c,
                                       call.result.get(), p.c, call.result.get(), &choice.algorithm,
                                       workspace.data(), choice.workspace, activate(stream)),
        "cublasLtMatmul");
  return KernelStatus::ok();
}

}  // namespace wick::cuda
