#include "harness/inputs.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

#include "wick/autograd/autograd.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/view.hpp"

namespace wick::testing {

double round_to(DType dtype, double value) {
  switch (dtype) {
    case DType::kF32:
      return static_cast<double>(static_cast<float>(value));
    case DType::kF16:
      return static_cast<double>(static_cast<float>(Half(static_cast<float>(value))));
    case DType::kBF16:
      return static_cast<double>(static_cast<float>(BFloat16(static_cast<float>(value))));
    case DType::kBool:
      return value != 0 ? 1 : 0;
    default:
      return std::trunc(value);
  }
}

double unit_roundoff(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return 0x1p-24;
    case DType::kF16:
      return 0x1p-11;
    case DType::kBF16:
      return 0x1p-8;
    default:
      return 0;
  }
}

double largest(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return 65504;
    case DType::kBF16:
      return 0x1.FEp127;
    default:
      return static_cast<double>(std::numeric_limits<float>::max());
  }
}

std::uint64_t seed_of(std::string_view op, std::string_view name) {
  std::uint64_t hash = 1469598103934665603u;  // FNV-1a
  for (const std::string_view text : {op, name}) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  }
  return hash;
}

namespace {

// Where the layout repeats the first axis, so must the numbers.
void repeat_first_axis(Array& array) {
  if (array.rank() == 0 || array.numel() == 0) return;
  const auto step = static_cast<std::ptrdiff_t>(array.numel() / array.dim(0));
  for (std::int64_t i = 1; i < array.dim(0); ++i) {
    std::copy_n(array.data.begin(), step, array.data.begin() + i * step);
  }
}

}  // namespace

std::vector<Array> make_arrays(const OpCase& op_case, DType dtype, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<Array> arrays;
  for (const Input& input : op_case.inputs) {
    Array array(input.shape.to_vector());
    for (std::int64_t i = 0; i < array.numel(); ++i) {
      array[i] = round_to(input.dtype(dtype), input.values(rng, i, array.numel()));
    }
    if (input.lay == Lay::kRepeated) repeat_first_axis(array);
    arrays.push_back(std::move(array));
  }
  return arrays;
}

namespace {

template <class T>
std::vector<std::byte> encode(const Array& array) {
  std::vector<std::byte> bytes(array.data.size() * sizeof(T));
  for (std::size_t i = 0; i < array.data.size(); ++i) {
    T value{};
    if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) {
      value = T(static_cast<float>(array.data[i]));
    } else {
      value = static_cast<T>(array.data[i]);
    }
    std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
  }
  return bytes;
}

std::vector<std::byte> encode(const Array& array, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return encode<float>(array);
    case DType::kF16:
      return encode<Half>(array);
    case DType::kBF16:
      return encode<BFloat16>(array);
    case DType::kI32:
      return encode<std::int32_t>(array);
    case DType::kI64:
      return encode<std::int64_t>(array);
    default:
      return encode<std::uint8_t>(array);
  }
}

Tensor dense_tensor(const Array& array, DType dtype, Device device) {
  return Tensor::from_bytes(encode(array, dtype), dtype, Shape(std::span(array.shape)), device);
}

// The array in a wider one, whose other elements are noise: element i along the last axis lands at
// first + i · step.
Tensor inside_wider(const Array& array, DType dtype, Device device, std::int64_t width,
                    std::int64_t step) {
  Array wide(array.shape);
  wide.shape.back() = width;
  wide.data.assign(static_cast<std::size_t>(Array::count(wide.shape)), 77);
  const std::int64_t size = array.shape.back();
  const std::int64_t rows = size == 0 ? 0 : array.numel() / size;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < size; ++i) wide[r * width + i * step] = array[r * size + i];
  }
  const std::int64_t end = size == 0 ? 0 : (size - 1) * step + 1;
  return slice(dense_tensor(wide, dtype, device), -1, 0, end, step);
}

Tensor transposed_tensor(const Array& array, DType dtype, Device device) {
  Array other(array.shape);
  const std::size_t rank = array.shape.size();
  std::swap(other.shape[rank - 1], other.shape[rank - 2]);
  const std::int64_t rows = array.shape[rank - 2];
  const std::int64_t columns = array.shape[rank - 1];
  for (std::int64_t i = 0; i < array.numel(); ++i) {
    const std::int64_t matrix = i / (rows * columns);
    const std::int64_t r = i / columns % rows;
    other[matrix * rows * columns + i % columns * rows + r] = array[i];
  }
  return transpose(dense_tensor(other, dtype, device));
}

Tensor repeated_tensor(const Array& array, DType dtype, Device device) {
  Array first(array.shape);
  first.shape[0] = std::min<std::int64_t>(array.shape[0], 1);
  first.data.assign(array.data.begin(),
                    array.data.begin() + static_cast<std::ptrdiff_t>(Array::count(first.shape)));
  return broadcast_to(dense_tensor(first, dtype, device), Shape(std::span(array.shape)));
}

Tensor offset_tensor(const Array& array, DType dtype, Device device) {
  Array longer(std::vector<std::int64_t>{array.numel() + 1});
  std::copy(array.data.begin(), array.data.end(), longer.data.begin() + 1);
  const Tensor flat = slice(dense_tensor(longer, dtype, device), 0, 1, array.numel() + 1);
  return reshape(flat, Shape(std::span(array.shape)));
}

Tensor misaligned_tensor(const Array& array, DType dtype) {
  const std::vector<std::byte> bytes = encode(array, dtype);
  const auto memory = std::make_shared<std::vector<std::byte>>(bytes.size() + 1);
  std::copy(bytes.begin(), bytes.end(), memory->begin() + 1);
  return Tensor::from_external(std::span(*memory).subspan(1), dtype, Shape(std::span(array.shape)),
                               memory);
}

}  // namespace

Tensor make_tensor(const Array& array, DType dtype, Lay lay, Device device) {
  const NoGradGuard no_grad;
  switch (lay) {
    case Lay::kDense:
      return dense_tensor(array, dtype, device);
    case Lay::kPaddedRows:
      return inside_wider(array, dtype, device, array.shape.back() + 3, 1);
    case Lay::kStrided:
      return inside_wider(array, dtype, device, 2 * array.shape.back() + 1, 2);
    case Lay::kTransposed:
      return transposed_tensor(array, dtype, device);
    case Lay::kRepeated:
      return repeated_tensor(array, dtype, device);
    case Lay::kOffset:
      return offset_tensor(array, dtype, device);
    case Lay::kMisaligned:
      return device == kCpuDevice ? misaligned_tensor(array, dtype)
                                  : dense_tensor(array, dtype, device);
  }
  return {};
}

std::vector<Tensor> make_tensors(const OpCase& op_case, const std::vector<Array>& arrays,
                                 DType dtype, Device device) {
  std::vector<Tensor> tensors;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const Input& input = op_case.inputs[i];
    tensors.push_back(make_tensor(arrays[i], input.dtype(dtype), input.lay, device));
  }
  return tensors;
}

namespace {

template <class T>
void append(const Tensor& tensor, Array& array) {
  for (const T value : tensor.to_vector<T>()) {
    if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) {
      array.data.push_back(static_cast<double>(static_cast<float>(value)));
    } else {
      array.data.push_back(static_cast<double>(value));
    }
  }
}

}  // namespace

Array to_array(const Tensor& tensor) {
  Array array;
  array.shape = tensor.shape().to_vector();
  switch (tensor.dtype()) {
    case DType::kF32:
      append<float>(tensor, array);
      break;
    case DType::kF16:
      append<Half>(tensor, array);
      break;
    case DType::kBF16:
      append<BFloat16>(tensor, array);
      break;
    case DType::kI32:
      append<std::int32_t>(tensor, array);
      break;
    case DType::kI64:
      append<std::int64_t>(tensor, array);
      break;
    default:
      append<std::uint8_t>(tensor, array);
  }
  return array;
}

}  // namespace wick::testing
