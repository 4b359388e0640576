#include "backends/cuda/cudnn_graph.hpp"

#include "wick/base/error.hpp"

namespace wick::cuda {

namespace {

constexpr std::int64_t kAlignment = 16;  // bytes, of every tensor in memory

}  // namespace

FourAxes dense_strides(const FourAxes& sizes) {
  return {sizes[1] * sizes[2] * sizes[3], sizes[2] * sizes[3], sizes[3], 1};
}

CudnnDescriptor::CudnnDescriptor(cudnnBackendDescriptorType_t type) {
  check(Cudnn::get().cudnnBackendCreateDescriptor(type, &handle_), "cudnnBackendCreateDescriptor");
}

CudnnDescriptor::~CudnnDescriptor() {
  if (handle_ != nullptr) Cudnn::get().cudnnBackendDestroyDescriptor(handle_);
}

void CudnnDescriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                          std::int64_t count, const void* values) {
  check(Cudnn::get().cudnnBackendSetAttribute(handle_, name, type, count, values),
        "cudnnBackendSetAttribute");
}

void CudnnDescriptor::finalize() {
  check(Cudnn::get().cudnnBackendFinalize(handle_), "cudnnBackendFinalize");
}

// ---- Tensors ------------------------------------------------------------------------------------

CudnnGraph::Tensor CudnnGraph::add_tensor(std::int64_t id, cudnnDataType_t type,
                                          const FourAxes& sizes, const FourAxes& strides,
                                          bool is_virtual, bool by_value) {
  CudnnDescriptor& made = add(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  made.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, id);
  made.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type);
  made.set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, sizes.data());
  made.set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides.data());
  made.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, kAlignment);
  made.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, is_virtual);
  made.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, by_value);
  made.finalize();
  return made.get();
}

CudnnGraph::Tensor CudnnGraph::tensor(std::int64_t id, cudnnDataType_t type, const FourAxes& sizes,
                                      const FourAxes& strides) {
  return add_tensor(id, type, sizes, strides, false, false);
}

CudnnGraph::Tensor CudnnGraph::inner(cudnnDataType_t type, const FourAxes& sizes) {
  return inner(type, sizes, dense_strides(sizes));
}

CudnnGraph::Tensor CudnnGraph::inner(cudnnDataType_t type, const FourAxes& sizes,
                                     const FourAxes& strides) {
  return add_tensor(next_id_++, type, sizes, strides, true, false);
}

CudnnGraph::Tensor CudnnGraph::add_scalar(cudnnDataType_t type, Scalar value) {
  scalars_.emplace_back(next_id_, value);
  return add_tensor(next_id_++, type, {1, 1, 1, 1}, {1, 1, 1, 1}, false, true);
}

CudnnGraph::Tensor CudnnGraph::scalar(float value) {
  return add_scalar(CUDNN_DATA_FLOAT, {.f32 = value});
}

CudnnGraph::Tensor CudnnGraph::scalar(std::int32_t value) {
  return add_scalar(CUDNN_DATA_INT32, {.i32 = value});
}

// ---- Operations ---------------------------------------------------------------------------------

void CudnnGraph::add_operation(CudnnDescriptor& operation) {
  operation.finalize();
  operations_.push_back(operation.get());
}

void CudnnGraph::matmul(Tensor a, Tensor b, Tensor to) {
  CudnnDescriptor& how = add(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
  how.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
  how.finalize();
  CudnnDescriptor& operation = add(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, a);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, b);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, to);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, how.get());
  add_operation(operation);
}

void CudnnGraph::pointwise(cudnnPointwiseMode_t mode, Tensor to, Tensor x, Tensor b, Tensor t,
                           cudnnDataType_t type) {
  CudnnDescriptor& how = add(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode);
  how.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, type);
  how.finalize();
  CudnnDescriptor& operation = add(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how.get());
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
  if (b != nullptr) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
  if (t != nullptr) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, t);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, to);
  add_operation(operation);
}

void CudnnGraph::index(int axis, Tensor to, Tensor x) {
  CudnnDescriptor& how = add(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, CUDNN_POINTWISE_GEN_INDEX);
  how.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_INT32);
  how.set(CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, std::int64_t{axis});
  how.finalize();
  CudnnDescriptor& operation = add(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how.get());
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, to);
  add_operation(operation);
}

void CudnnGraph::reduce(cudnnReduceTensorOp_t op, Tensor to, Tensor x) {
  CudnnDescriptor& how = add(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
  how.set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, op);
  how.set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
  how.finalize();
  CudnnDescriptor& operation = add(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, to);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, how.get());
  add_operation(operation);
}

void CudnnGraph::reshape(Tensor to, Tensor x) {
  CudnnDescriptor& operation = add(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x);
  operation.set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, to);
  add_operation(operation);
}

// ---- Running ------------------------------------------------------------------------------------

std::vector<CudnnDescriptor> CudnnGraph::candidates(cudnnBackendDescriptor_t graph,
                                                    cudnnBackendHeurMode_t mode) const {
  CudnnDescriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
  heuristics.finalize();
  const Cudnn& dnn = Cudnn::get();
  std::int64_t count = 0;
  check(dnn.cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                     CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr),
        "cudnnBackendGetAttribute");
  std::vector<CudnnDescriptor> found;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (std::int64_t i = 0; i < count; ++i) {
    handles.push_back(found.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get());
  }
  std::int64_t filled = 0;
  if (count > 0) {
    check(
        dnn.cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                     CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &filled, handles.data()),
        "cudnnBackendGetAttribute");
  }
  while (static_cast<std::int64_t>(found.size()) > filled) found.pop_back();
  return found;
}

bool CudnnGraph::try_candidates(cudnnHandle_t handle, std::vector<CudnnDescriptor> configs) {
  for (CudnnDescriptor& config : configs) {
    CudnnDescriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, handle);
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config.get());
    if (Cudnn::get().cudnnBackendFinalize(plan.get()) != CUDNN_STATUS_SUCCESS) continue;
    std::int64_t count = 0;
    check(
        Cudnn::get().cudnnBackendGetAttribute(plan.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                              CUDNN_TYPE_INT64, 1, &count, &workspace_bytes_),
        "cudnnBackendGetAttribute");
    kept_.push_back(std::move(config));
    plan_.push_back(std::move(plan));
    return true;
  }
  return false;
}

void CudnnGraph::build(cudnnHandle_t handle) {
  CudnnDescriptor& graph = add(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
            static_cast<std::int64_t>(operations_.size()), operations_.data());
  graph.finalize();
  if (try_candidates(handle, candidates(graph.get(), CUDNN_HEUR_MODE_A))) return;
  throw Error(ErrorKind::kDevice, "cuDNN", "no engine runs this graph");
}

void CudnnGraph::run(cudnnHandle_t handle, std::vector<CudnnBinding> bindings,
                     void* workspace) const {
  std::vector<std::int64_t> ids;
  std::vector<void*> addresses;
  for (const CudnnBinding& binding : bindings) {
    ids.push_back(binding.id);
    addresses.push_back(binding.data);
  }
  std::deque<std::pair<std::int64_t, Scalar>> scalars = scalars_;
  for (auto& [id, value] : scalars) {
    ids.push_back(id);
    addresses.push_back(&value);
  }
  CudnnDescriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  const auto count = static_cast<std::int64_t>(ids.size());
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, ids.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, addresses.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace);
  pack.finalize();
  check(Cudnn::get().cudnnBackendExecute(handle, plan_.front().get(), pack.get()),
        "cudnnBackendExecute");
}

}  // namespace wick::cuda
