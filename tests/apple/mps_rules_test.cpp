#include "apple/mps_rules.hpp"

// Descriptors, products with vectors, rows and layers.

namespace wick::test {
namespace {

using mps::DataType;
namespace m = apple::mps::messages;
using namespace apple::objc;

TEST_F(MpsRulesTest, Descriptors) {
  const metal::Buffer memory = device().buffer(256);
  const auto refused = [&](const mps::MatrixLayout& l, std::string_view part,
                           std::string_view said) {
    expect_both(
        "mps.matrix_descriptor", [&] { const mps::MatrixDescriptor made(l); }, part,
        [&] {
          MPSMatrixDescriptor* const made = m::describe_matrices(
              l.rows, l.columns, l.matrices, l.row_bytes, l.matrix_bytes, kRawFloat);
          apple::objc::make<MPSMatrix>(m::init_matrix, memory.object().get(), 0, made);
        },
        said);
  };
  const auto layout = [](std::uint64_t rows, std::uint64_t row_bytes, std::uint64_t matrix_bytes) {
    return mps::MatrixLayout{.rows = rows,
                             .columns = 3,
                             .row_bytes = row_bytes,
                             .matrices = 2,
                             .matrix_bytes = matrix_bytes};
  };
  refused(layout(0, 12, 24), "got 0, 3 and 2", "may not be 0");
  refused(layout(2, 8, 24), "at least 12; got 8", "not enough rowBytes for all the columns.");
  refused(layout(2, 14, 28), "a multiple of 4 and at least 12; got 14", "multiple of the element");
  refused(layout(2, 12, 12), "at least 24; got 12", "matrixBytes must be a multiple of rowBytes");
  refused(layout(2, 12, 30), "a multiple of 12 and at least 24; got 30", "multiple of rowBytes");
  expect_both(
      "mps.data_type",
      [] { mps::MatrixDescriptor({.rows = 1, .columns = 1, .type = DataType{7}}); },
      "7 is no DataType",
      [&] {
        apple::objc::make<MPSMatrix>(m::init_matrix, memory.object().get(), 0,
                                     m::describe_matrices(1, 1, 1, 4, 4, 7));
      },
      "type 7 is no type of a matrix");
  const auto refused_vector = [&](const mps::VectorLayout& l, std::string_view part,
                                  std::string_view said) {
    expect_both(
        "mps.vector_descriptor", [&] { const mps::VectorDescriptor made(l); }, part,
        [&] {
          apple::objc::make<MPSVector>(
              m::init_vector, memory.object().get(), 0,
              m::describe_vectors(l.length, l.vectors, l.vector_bytes, kRawFloat));
        },
        said);
  };
  refused_vector({.length = 0, .vector_bytes = 4}, "got 0 and 1", "may not be 0");
  refused_vector({.length = 3, .vector_bytes = 8}, "at least 12; got 8", "not enough rowBytes");
  refused_vector({.length = 3, .vector_bytes = 14}, "got 14", "multiple of the element");
}

TEST_F(MpsRulesTest, PlacesInABuffer) {
  const metal::Buffer memory = device().buffer(27);
  const mps::MatrixDescriptor rows({.rows = 2, .columns = 3});
  const mps::VectorDescriptor row({.length = 6});
  const auto refused = [&](std::size_t offset, std::string_view part, std::string_view said) {
    expect_both(
        "mps.matrix", [&] { mps::Matrix(memory, rows, offset); }, part,
        [&] {
          apple::objc::make<MPSMatrix>(m::init_matrix, memory.object().get(), offset,
                                       rows.object().get());
        },
        said);
    expect_both(
        "mps.vector", [&] { mps::Vector(memory, row, offset); }, part,
        [&] {
          apple::objc::make<MPSVector>(m::init_vector, memory.object().get(), offset,
                                       row.object().get());
        },
        said);
  };
  refused(2, "a multiple of 4; got 2", "multiple of the element size");
  refused(4, "24 are needed from offset 4", "bytes 4 to 28 are beyond a buffer of 27");
}

TEST_F(MpsRulesTest, SizesThatAreZero) {
  const auto refused = [](std::string_view op, auto checked, auto raw, std::string_view said) {
    expect_both(op, checked, "at least 1; got", raw, said);
  };
  refused(
      "mps.matrix_multiplication", [&] { mps::MatrixMultiplication(device(), 2, 0, 3); },
      [&] {
        apple::objc::make<MPSMatrixMultiplication>(m::init_multiplication, raw(), false, false, 2,
                                                   0, 3, 1.0, 0.0);
      },
      "a size of the product is 0");
  refused(
      "mps.matrix_vector_multiplication", [&] { mps::MatrixVectorMultiplication(device(), 0, 3); },
      [&] {
        apple::objc::make<MPSMatrixVectorMultiplication>(m::init_vector_multiplication, raw(),
                                                         false, 0, 3, 1.0, 0.0);
      },
      "a size of the product is 0");
  for (int zero = 0; zero < 3; ++zero) {
    const std::uint64_t count = zero != 0, rows = zero != 1, columns = zero != 2;
    refused(
        "mps.matrix_sum", [&] { mps::MatrixSum(device(), count, rows, columns); },
        [&] { apple::objc::make<MPSMatrixSum>(m::init_sum, raw(), count, rows, columns, false); },
        "may not be 0");
    if (zero == 0) continue;
    refused(
        "mps.matrix_copy", [&] { mps::MatrixCopy(device(), rows, columns); },
        [&] { apple::objc::make<MPSMatrixCopy>(m::init_copy, raw(), rows, columns, false, false); },
        "copies no rows or no columns");
    refused(
        "mps.matrix_decomposition_lu", [&] { mps::MatrixDecompositionLU(device(), rows, columns); },
        [&] { apple::objc::make<MPSMatrixDecompositionLU>(m::init_lu, raw(), rows, columns); },
        "is 0");
    refused(
        "mps.matrix_solve_triangular", [&] { mps::MatrixSolveTriangular(device(), rows, columns); },
        [&] {
          apple::objc::make<MPSMatrixSolveTriangular>(m::init_triangular, raw(), false, false,
                                                      false, false, rows, columns, 1.0);
        },
        "is 0");
    refused(
        "mps.matrix_solve_lu", [&] { mps::MatrixSolveLU(device(), rows, columns); },
        [&] { apple::objc::make<MPSMatrixSolveLU>(m::init_solve_lu, raw(), false, rows, columns); },
        "is 0");
    refused(
        "mps.matrix_solve_cholesky",
        [&] { mps::MatrixSolveCholesky(device(), false, rows, columns); },
        [&] {
          apple::objc::make<MPSMatrixSolveCholesky>(m::init_solve_cholesky, raw(), false, rows,
                                                    columns);
        },
        "is 0");
  }
  refused(
      "mps.matrix_decomposition_cholesky",
      [&] { mps::MatrixDecompositionCholesky(device(), true, 0); },
      [&] { apple::objc::make<MPSMatrixDecompositionCholesky>(m::init_cholesky, raw(), true, 0); },
      "is 0");
}

TEST_F(MpsRulesTest, VectorProducts) {
  const mps::MatrixVectorMultiplication checked(device(), 4, 6);
  const auto kernel = apple::objc::make<MPSMatrixVectorMultiplication>(
      m::init_vector_multiplication, raw(), false, 4, 6, 1.0, 0.0);
  const auto refused = [&](const mps::Matrix& a, const mps::Vector& x, const mps::Vector& y,
                           std::string_view part, std::string_view said,
                           const mps::VectorMultiplicationPlace& place = {}) {
    m::set_primary_origin(kernel.get(), to_raw(place.matrix));
    m::set_secondary_origin(kernel.get(), {place.input, 0, 0});
    m::set_binary_result_origin(kernel.get(), {place.result, 0, 0});
    m::set_binary_batch_start(kernel.get(), place.batch.start);
    expect_both(
        "mps.matrix_vector_multiplication", [&] { checked.encode(buffer(), a, x, y, place); }, part,
        [&] {
          m::encode_vector_multiplication(kernel.get(), work(), object_of(a), object_of(&x),
                                          object_of(&y));
        },
        said);
  };
  const mps::Vector x = make_vector(std::vector<double>(6, 1));
  const mps::Vector y = make_vector(std::vector<double>(4, 1));
  const mps::Vector half_x = make_vector(std::vector<double>(6, 1), DataType::kFloat16);
  const mps::Vector half_y = make_vector(std::vector<double>(4, 1), DataType::kFloat16);
  refused(index(), x, y, "the matrix must be Float32 or Float16",
          "UInt32 is no type of the matrix");
  refused(matrix(), half_x, y, "the matrix and the input must have one type",
          "no product of Float32 and Float16 in Float32");
  refused(matrix(), x, half_y, "the result and the matrix must have one type",
          "no product of Float32 and Float32 in Float16");
  refused(matrix(), x, y, "the matrix is 4x6", "rows in input matrix exceeds", {.matrix = {1, 0}});
  refused(matrix(), x, y, "the input is 1x6", "columns in input vector exceeds", {.input = 1});
  refused(matrix(), x, y, "the result is 1x4", "columns in result vector exceeds", {.result = 1});
  refused(matrix(), x, y, "begins at matrix 1", "batchStart 1", {.batch = {1}});
  refused(matrix(), x, first_row(matrix(), 4), "the result and the matrix must not overlap",
          "overlaps the matrix");
  refused(matrix(), first_row(other(), 6), first_row(other(), 4),
          "the result and the input must not overlap", "overlaps the input vector");
}

TEST_F(MpsRulesTest, SoftMax) {
  const mps::MatrixSoftMax checked(device());
  const auto kernel = apple::objc::make<MPSMatrixSoftMax>(m::init_softmax, raw());
  const auto refused = [&](const mps::Matrix& input, const mps::Matrix& result,
                           std::string_view part, std::string_view said,
                           const mps::RowsPlace& place = {}) {
    m::set_source_origin(kernel.get(), to_raw(place.source));
    m::set_unary_result_origin(kernel.get(), to_raw(place.result));
    m::set_softmax_rows(kernel.get(), place.rows);
    m::set_softmax_columns(kernel.get(), place.columns);
    m::set_unary_batch_start(kernel.get(), place.batch.start);
    expect_both(
        "mps.matrix_softmax", [&] { checked.encode(buffer(), input, result, place); }, part,
        [&] { m::encode_softmax(kernel.get(), work(), object_of(input), object_of(result)); },
        said);
  };
  refused(index(), index(), "must be Float32 or Float16; it is UInt32",
          "UInt32 is no type of the input");
  refused(matrix(), half(), "must have one type; they are Float32 and Float16", "same type");
  refused(matrix(), matrix(), "must not overlap", "overlaps the input",
          {.result = {1, 0}, .rows = 3});
  refused(matrix(), other(), "the result is 4x6; the kernel needs 3x6 of it from row 2",
          "rows in result matrix exceeds", {.result = {2, 0}, .rows = 3});
  refused(matrix(), other(), "the kernel needs 4x0 of it from row 0 and column 7",
          "no columns of input matrix", {.source = {0, 7}});
  refused(matrix(), other(), "begins at matrix 1, but the result has 1", "batchStart 1",
          {.batch = {1}});
  refused(matrix(), make_empty({.rows = 4, .columns = 6, .matrices = 2}),
          "the input has 1 matrices; the batch needs 2 from 0 on", "1 matrices of input matrix");
}

TEST_F(MpsRulesTest, SoftMaxGradient) {
  const mps::MatrixSoftMaxGradient checked(device());
  const auto kernel = apple::objc::make<MPSMatrixSoftMaxGradient>(m::init_softmax_gradient, raw());
  const auto refused = [&](const mps::Matrix& dy, const mps::Matrix& y, const mps::Matrix& dx,
                           std::string_view part, std::string_view said,
                           const mps::RowsGradientPlace& place = {}) {
    m::set_primary_origin(kernel.get(), to_raw(place.gradient));
    m::set_secondary_origin(kernel.get(), to_raw(place.output));
    m::set_binary_result_origin(kernel.get(), to_raw(place.result));
    m::set_gradient_rows(kernel.get(), place.rows);
    expect_both(
        "mps.matrix_softmax_gradient", [&] { checked.encode(buffer(), dy, y, dx, place); }, part,
        [&] {
          m::encode_softmax_gradient(kernel.get(), work(), object_of(dy), object_of(y),
                                     object_of(dx));
        },
        said);
  };
  refused(index(), index(), other(), "the gradient must be Float32 or Float16",
          "UInt32 is no type of the gradient");
  refused(matrix(), half(), other(), "the gradient and the output must have one type", "same type");
  refused(matrix(), other(), half(), "the gradient and the result must have one type", "same type");
  refused(matrix(), other(), third(), "the gradient is 4x6; the kernel needs 0x6 of it from row 4",
          "no rows or no columns of gradient matrix", {.gradient = {4, 0}});
  refused(matrix(), other(), third(), "the output is 4x6; the kernel needs 4x6 of it from row 1",
          "rows in forward output matrix exceeds", {.output = {1, 0}});
  refused(matrix(), other(), third(),
          "the result is 4x6; the kernel needs 4x6 of it from row 0 and",
          "columns in result matrix exceeds", {.result = {0, 1}});
  refused(matrix(), other(), matrix(), "the result and the gradient must not overlap",
          "overlaps the gradient");
  refused(matrix(), other(), other(), "the result and the output must not overlap",
          "overlaps the forward output");
}

TEST_F(MpsRulesTest, TopK) {
  for (const std::uint64_t count : {0, 17}) {
    expect_both(
        "mps.matrix_find_top_k", [&] { mps::MatrixFindTopK(device(), count); },
        "1 to 16; got " + std::to_string(count),
        [&] { apple::objc::make<MPSMatrixFindTopK>(m::init_top_k, raw(), count); },
        "must be 1 to 16");
  }
  const mps::MatrixFindTopK checked(device(), 3);
  const auto kernel = apple::objc::make<MPSMatrixFindTopK>(m::init_top_k, raw(), 3);
  const auto refused = [&](const mps::Matrix& input, const mps::Matrix& indices,
                           const mps::Matrix& values, std::string_view part, std::string_view said,
                           const mps::RowsPlace& place = {}) {
    m::set_source_origin(kernel.get(), to_raw(place.source));
    m::set_top_k_rows(kernel.get(), place.rows);
    m::set_top_k_columns(kernel.get(), place.columns);
    expect_both(
        "mps.matrix_find_top_k", [&] { checked.encode(buffer(), input, indices, values, place); },
        part,
        [&] {
          m::encode_top_k(kernel.get(), work(), object_of(input), object_of(indices),
                          object_of(values));
        },
        said);
  };
  const mps::Matrix thin = make_empty({.rows = 4, .columns = 2});
  const mps::Matrix thin_index = make_empty({.rows = 4, .columns = 2, .type = DataType::kUInt32});
  const mps::Matrix low = make_empty({.rows = 3, .columns = 6});
  refused(index(), index(), other(), "the input must be Float32 or Float16",
          "no type of the input");
  refused(matrix(), other(), third(), "the indices must be UInt32; it is Float32",
          "no type of the indices");
  refused(matrix(), index(), half(), "the input and the values must have one type", "same type");
  refused(matrix(), thin_index, other(), "the indices is 4x2; the kernel needs 4x3",
          "columns in result index matrix exceeds");
  refused(matrix(), index(), thin, "the values is 4x2; the kernel needs 4x3",
          "columns in result value matrix exceeds");
  refused(low, index(), other(), "the input is 3x6; the kernel needs 0x6", "no rows",
          {.source = {3, 0}});
  refused(matrix(), index(), other(), "the largest 3 of 2 columns", "fewer columns",
          {.columns = 2});
  refused(matrix(), again(matrix(), DataType::kUInt32), other(),
          "the indices and the input must not overlap", "overlaps the input");
  refused(matrix(), index(), matrix(), "the values and the input must not overlap",
          "overlaps the input");
  refused(matrix(), index(), again(index(), DataType::kFloat32),
          "the values and the indices must not overlap", "overlaps the indices");
}

TEST_F(MpsRulesTest, TypesOfNeurons) {
  for (const std::int32_t type : {-1, 10, 16}) {
    const mps::Neuron none{static_cast<mps::NeuronType>(type)};
    const std::string said = "neuron type " + std::to_string(type);
    const std::string part = std::to_string(type) + " is no NeuronType";
    const auto neuron = apple::objc::make<MPSMatrixNeuron>(m::init_neuron, raw());
    expect_both(
        "mps.matrix_neuron", [&] { mps::MatrixNeuron(device(), none); }, part,
        [&] { m::set_neuron(neuron.get(), type, 0, 0, 0); }, said);
    const auto layer = apple::objc::make<MPSMatrixFullyConnected>(m::init_connected, raw());
    expect_both(
        "mps.matrix_fully_connected", [&] { mps::MatrixFullyConnected(device(), none); }, part,
        [&] { m::set_connected_neuron(layer.get(), type, 0, 0, 0); }, said);
    const auto sum = apple::objc::make<MPSMatrixSum>(m::init_sum, raw(), 1, 1, 1, false);
    expect_both(
        "mps.matrix_sum", [&] { mps::MatrixSum(device(), 1, 1, 1, false, none); }, part,
        [&] { m::set_sum_neuron(sum.get(), type, 0, 0, 0); }, said);
  }
}

TEST_F(MpsRulesTest, Neurons) {
  const float slopes[2]{};
  const mps::MatrixNeuron plain(device(), mps::Neuron{}), sloped(device(), slopes);
  const auto kernel = apple::objc::make<MPSMatrixNeuron>(m::init_neuron, raw());
  const auto refused = [&](const mps::MatrixNeuron& checked, const mps::Matrix& input,
                           const mps::Vector* bias, const mps::Matrix& result,
                           std::string_view part, std::string_view said,
                           const mps::RowsPlace& place = {}) {
    m::set_source_origin(kernel.get(), to_raw(place.source));
    m::set_unary_result_origin(kernel.get(), to_raw(place.result));
    m::set_neuron_rows(kernel.get(), place.rows);
    expect_both(
        "mps.matrix_neuron", [&] { checked.encode(buffer(), input, bias, result, place); }, part,
        [&] {
          m::encode_neuron(kernel.get(), work(), object_of(input), object_of(bias),
                           object_of(result));
        },
        said);
  };
  const mps::Vector narrow = make_vector({1, 2, 3}), inside = first_row(other(), 6);
  refused(plain, index(), nullptr, index(), "the input must be Float32 or Float16",
          "no type of the input");
  refused(plain, matrix(), nullptr, half(), "must have one type", "same type");
  refused(plain, matrix(), nullptr, other(), "the input is 4x6; the kernel needs 0x6",
          "no rows or no columns of input matrix", {.source = {4, 0}});
  refused(plain, matrix(), nullptr, other(),
          "the result is 4x6; the kernel needs 4x6 of it from row 1",
          "rows in result matrix exceeds", {.result = {1, 0}});
  refused(plain, matrix(), nullptr, matrix(), "must not overlap", "overlaps the input",
          {.result = {1, 0}, .rows = 3});
  refused(plain, matrix(), &narrow, other(), "one vector of 6; it has 1 of 3",
          "columns in bias vector exceeds");
  refused(plain, matrix(), &inside, other(), "the result and the bias must not overlap",
          "overlaps the bias");
  // One bias for every matrix of a batch, and in the second of them.
  const mps::Matrix two = make_empty({.rows = 4, .columns = 6, .matrices = 2});
  const mps::Vector late(*two.buffer(), mps::VectorDescriptor({.length = 6}), 4 * 6 * 4);
  refused(plain, make(random(4, 6, 5, 2)), &late, two, "the result and the bias must not overlap",
          "overlaps the bias");
  const auto data = apple::objc::make<NSData>(m::init_data, slopes, sizeof(slopes));
  m::set_slopes(kernel.get(), data.get());
  refused(sloped, matrix(), nullptr, other(), "there are 2 slopes for 6 columns",
          "2 parameters for 6 columns");
}

TEST_F(MpsRulesTest, FullyConnectedLayers) {
  const mps::MatrixFullyConnected checked(device());
  const auto kernel = apple::objc::make<MPSMatrixFullyConnected>(m::init_connected, raw());
  const auto refused = [&](const mps::Matrix& input, const mps::Matrix& weights,
                           const mps::Vector* bias, const mps::Matrix& result,
                           std::string_view part, std::string_view said,
                           const mps::FullyConnectedPlace& place = {}) {
    m::set_primary_origin(kernel.get(), to_raw(place.input));
    m::set_secondary_origin(kernel.get(), to_raw(place.weights));
    m::set_binary_result_origin(kernel.get(), to_raw(place.result));
    expect_both(
        "mps.matrix_fully_connected",
        [&] { checked.encode(buffer(), input, weights, bias, result, place); }, part,
        [&] {
          m::encode_connected(kernel.get(), work(), object_of(input), object_of(weights),
                              object_of(bias), object_of(result));
        },
        said);
  };
  const mps::Matrix w = make(random(6, 5, 4)), thin = make_empty({.rows = 4, .columns = 4});
  const mps::Vector narrow = make_vector({1, 2, 3}), inside = first_row(third(), 5);
  refused(index(), w, nullptr, third(), "the input must be Float32 or Float16",
          "no type of the input");
  refused(half(), w, nullptr, half(), "the input and the weights must have one type", "same type");
  refused(matrix(), w, nullptr, half(), "the input and the result must have one type", "same type");
  refused(matrix(), w, nullptr, third(), "the input is 4x6; the kernel needs 0x6",
          "no rows or no columns of input matrix", {.input = {4, 0}});
  refused(matrix(), w, nullptr, third(), "the weights is 6x5; the kernel needs 6x0",
          "no rows or no columns of weight matrix", {.weights = {0, 5}});
  refused(matrix(), w, nullptr, thin, "the result is 4x4; the kernel needs 4x5",
          "columns in result matrix exceeds");
  refused(matrix(), w, nullptr, matrix(), "the result and the input must not overlap",
          "overlaps the input");
  const mps::Matrix on_weights(*w.buffer(), mps::MatrixDescriptor({.rows = 4, .columns = 5}));
  refused(matrix(), w, nullptr, on_weights, "the result and the weights must not overlap",
          "overlaps the weights");
  refused(matrix(), w, &narrow, third(), "one vector of 5; it has 1 of 3",
          "columns in bias vector exceeds");
  refused(matrix(), w, &inside, third(), "the result and the bias must not overlap",
          "overlaps the bias");
}

TEST_F(MpsRulesTest, Sums) {
  const mps::MatrixSum checked(device(), 2, 4, 6);
  const auto kernel = apple::objc::make<MPSMatrixSum>(m::init_sum, raw(), 2, 4, 6, false);
  const auto refused = [&](const std::vector<mps::Matrix>& sources, const mps::Vector* bias,
                           const mps::Matrix& result, std::string_view part, std::string_view said,
                           mps::Origin origin = {}) {
    m::set_sum_origin(kernel.get(), to_raw(origin));
    std::vector<mps::Summand> summands;
    std::vector<apple::Object*> objects;
    for (const mps::Matrix& one : sources) {
      summands.push_back({.matrix = one});
      objects.push_back(object_of(one));
    }
    expect_both(
        "mps.matrix_sum", [&] { checked.encode(buffer(), summands, bias, result, origin); }, part,
        [&] {
          const auto list = make_array(objects);
          m::encode_sum(kernel.get(), work(), list.get(), object_of(result), nullptr, nullptr,
                        object_of(bias), 0);
        },
        said);
  };
  const mps::Matrix low = make_empty({.rows = 3, .columns = 6});
  const mps::Vector narrow = make_vector({1, 2, 3});
  refused({matrix(), other()}, nullptr, index(), "the result must be Float32 or Float16",
          "no type of the result");
  refused({matrix()}, nullptr, third(), "the sum is of 2 matrices; got 1", "as the count says");
  refused({matrix(), half()}, nullptr, third(), "a summand and the result must have one type",
          "same type");
  refused({matrix(), low}, nullptr, third(), "a summand is 3x6; the kernel needs 4x6",
          "rows in source matrix exceeds");
  refused({matrix(), other()}, nullptr, third(), "the result is 4x6",
          "rows in result matrix exceeds", {1, 0});
  refused({matrix(), other()}, nullptr, other(), "the result and a summand must not overlap",
          "overlaps a source");
  refused({matrix(), other()}, &narrow, third(), "one vector of 6; it has 1 of 3",
          "columns in bias vector exceeds");
  // What only raw messages can say.
  const auto said = [&](const mps::Vector* scales, const mps::Vector* offsets) {
    return fault_of([&] {
      apple::Object* const objects[] = {object_of(matrix()), object_of(matrix())};
      const auto list = make_array(objects);
      m::encode_sum(kernel.get(), work(), list.get(), object_of(other()), object_of(scales),
                    object_of(offsets), nullptr, 0);
    });
  };
  m::set_sum_origin(kernel.get(), {});
  const mps::Vector one = make_vector({1}), wrong = make_vector({1, 1}, DataType::kFloat16);
  EXPECT_TEXT(said(&one, nullptr), "in scale vector exceeds");
  EXPECT_TEXT(said(&wrong, nullptr), "no type of the scales");
  EXPECT_TEXT(said(nullptr, &one), "no type of the offsets");
}

// MPS reads the offsets of summands on the GPU: without the check the command buffer would read what lies elsewhere.
TEST_F(MpsRulesTest, SummandsBeginInsideOfTheirMatrices) {
  const mps::MatrixSum checked(device(), 1, 4, 6);
  const mps::Summand low{.matrix = matrix(), .origin = {1, 0}};
  expect_refused(error_of([&] { checked.encode(buffer(), {&low, 1}, nullptr, other()); }),
                 "mps.matrix_sum", "a summand is 4x6; the kernel needs 4x6 of it from row 1");
  const auto kernel = apple::objc::make<MPSMatrixSum>(m::init_sum, raw(), 1, 4, 6, false);
  const mps::Vector offset = make_vector({1, 0}, DataType::kUInt32);
  apple::Object* const objects[] = {object_of(matrix())};
  const auto list = make_array(objects);
  m::encode_sum(kernel.get(), work(), list.get(), object_of(other()), nullptr, object_of(&offset),
                nullptr, 0);
  buffer().commit();
  EXPECT_TEXT(error_of([&] { buffer().wait(); }).what(), "rows in source matrix exceeds");
}

}  // namespace
}  // namespace wick::test
