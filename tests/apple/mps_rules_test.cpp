#include "apple/mps/mps_messages.hpp"
#include "apple/mps_test_support.hpp"
#include "apple/objc/foundation.hpp"

// Refusals of MPS by raw messages: what the checks of wick::apple::mps keep callers away from. Those of products and
// arrays stand beside their own tests.

namespace wick::test {
namespace {

using mps::DataType;
namespace m = apple::mps::messages;
using namespace apple::objc;

constexpr std::uint32_t kFloat = 0x10000020, kUnsigned = 0x20;

class MpsRawTest : public MpsTest {
 protected:
  void SetUp() override {
    MpsTest::SetUp();
    scope_.emplace();
    buffer_.emplace(device().queue().command_buffer());
    matrix_.emplace(make(random(4, 6, 1)));
    other_.emplace(make(random(4, 6, 2)));
    half_.emplace(make(random(4, 6, 3), DataType::kFloat16));
    index_.emplace(make_empty({.rows = 4, .columns = 6, .type = DataType::kUInt32}));
  }
  void TearDown() override {
    index_.reset();
    half_.reset();
    other_.reset();
    matrix_.reset();
    buffer_.reset();
    scope_.reset();
    MpsTest::TearDown();
  }
  MTLDevice* raw() const { return device().object().get(); }
  MTLCommandBuffer* work() const { return buffer_->object().get(); }
  MPSMatrix* matrix() const { return matrix_->object().get(); }
  MPSMatrix* other() const { return other_->object().get(); }
  MPSMatrix* half() const { return half_->object().get(); }
  MPSMatrix* index() const { return index_->object().get(); }

 private:
  std::optional<apple::AutoreleaseScope> scope_;
  std::optional<metal::CommandBuffer> buffer_;
  std::optional<mps::Matrix> matrix_, other_, half_, index_;
};

TEST_F(MpsRawTest, SoftMax) {
  const auto kernel = apple::objc::make<MPSMatrixSoftMax>(m::init_softmax, raw());
  const auto said = [&](MPSMatrix* input, MPSMatrix* result) {
    return fault_of([&] { m::encode_softmax(kernel.get(), work(), input, result); });
  };
  EXPECT_TEXT(said(index(), index()), "UInt32 is no type of the input");
  EXPECT_TEXT(said(matrix(), half()), "same type");
  m::set_softmax_rows(kernel.get(), 3);
  m::set_unary_result_origin(kernel.get(), {1, 0, 0});
  EXPECT_TEXT(said(matrix(), matrix()), "overlaps the input");
  m::set_unary_result_origin(kernel.get(), {2, 0, 0});
  EXPECT_TEXT(said(matrix(), other()), "rows in result matrix exceeds");
  m::set_source_origin(kernel.get(), {0, 7, 0});
  EXPECT_TEXT(said(matrix(), other()), "no columns of input matrix");
  m::set_unary_batch_start(kernel.get(), 1);
  EXPECT_TEXT(said(matrix(), other()), "batchStart 1");
}

TEST_F(MpsRawTest, SoftMaxGradient) {
  const auto kernel = apple::objc::make<MPSMatrixSoftMaxGradient>(m::init_softmax_gradient, raw());
  const auto said = [&](MPSMatrix* dy, MPSMatrix* y, MPSMatrix* dx) {
    return fault_of([&] { m::encode_softmax_gradient(kernel.get(), work(), dy, y, dx); });
  };
  EXPECT_TEXT(said(index(), index(), other()), "UInt32 is no type of the gradient");
  EXPECT_TEXT(said(matrix(), half(), other()), "same type");
  EXPECT_TEXT(said(matrix(), other(), matrix()), "overlaps the gradient");
  EXPECT_TEXT(said(matrix(), other(), other()), "overlaps the forward output");
  m::set_secondary_origin(kernel.get(), {1, 0, 0});
  EXPECT_TEXT(said(matrix(), matrix(), other()), "rows in forward output matrix exceeds");
}

TEST_F(MpsRawTest, TopK) {
  EXPECT_TEXT(fault_of([&] { apple::objc::make<MPSMatrixFindTopK>(m::init_top_k, raw(), 17); }),
              "must be 1 to 16");
  const auto kernel = apple::objc::make<MPSMatrixFindTopK>(m::init_top_k, raw(), 3);
  const auto said = [&](MPSMatrix* input, MPSMatrix* indices, MPSMatrix* values) {
    return fault_of([&] { m::encode_top_k(kernel.get(), work(), input, indices, values); });
  };
  EXPECT_TEXT(said(index(), index(), other()), "no type of the input");
  EXPECT_TEXT(said(matrix(), other(), other()), "no type of the indices");
  EXPECT_TEXT(said(matrix(), index(), half()), "same type");
  EXPECT_TEXT(said(matrix(), index(), matrix()), "overlaps the input");
  m::set_top_k_columns(kernel.get(), 2);
  EXPECT_TEXT(said(matrix(), index(), other()), "fewer columns");
}

TEST_F(MpsRawTest, Neurons) {
  const auto kernel = apple::objc::make<MPSMatrixNeuron>(m::init_neuron, raw());
  EXPECT_TEXT(fault_of([&] { m::set_neuron(kernel.get(), 10, 0, 0, 0); }), "neuron type 10");
  EXPECT_TEXT(fault_of([&] { m::set_neuron(kernel.get(), 16, 0, 0, 0); }), "neuron type 16");
  const auto said = [&](MPSMatrix* input, MPSVector* bias, MPSMatrix* result) {
    return fault_of([&] { m::encode_neuron(kernel.get(), work(), input, bias, result); });
  };
  const mps::Vector narrow = make_vector({1, 2, 3});
  EXPECT_TEXT(said(index(), nullptr, index()), "no type of the input");
  EXPECT_TEXT(said(matrix(), nullptr, half()), "same type");
  EXPECT_TEXT(said(matrix(), narrow.object().get(), other()), "columns in bias vector exceeds");
  const float slopes[2]{};
  const auto data = apple::objc::make<NSData>(m::init_data, slopes, sizeof(slopes));
  m::set_slopes(kernel.get(), data.get());
  EXPECT_TEXT(said(matrix(), nullptr, other()), "2 parameters for 6 columns");
}

TEST_F(MpsRawTest, FullyConnectedLayers) {
  const auto kernel = apple::objc::make<MPSMatrixFullyConnected>(m::init_connected, raw());
  const mps::Matrix weights = make(random(6, 5, 4));
  const auto said = [&](MPSMatrix* input, MPSVector* bias, MPSMatrix* result) {
    return fault_of([&] {
      m::encode_connected(kernel.get(), work(), input, weights.object().get(), bias, result);
    });
  };
  const mps::Vector narrow = make_vector({1, 2, 3});
  EXPECT_TEXT(said(half(), nullptr, half()), "same type");
  EXPECT_TEXT(said(matrix(), nullptr, matrix()), "overlaps the input");
  EXPECT_TEXT(said(matrix(), narrow.object().get(), other()), "columns in bias vector exceeds");
  const mps::Matrix thin = make_empty({.rows = 4, .columns = 4});
  EXPECT_TEXT(said(matrix(), nullptr, thin.object().get()), "columns in result matrix exceeds");
}

TEST_F(MpsRawTest, Sums) {
  EXPECT_TEXT(
      fault_of([&] { apple::objc::make<MPSMatrixSum>(m::init_sum, raw(), 0, 4, 6, false); }),
      "may not be 0");
  const auto kernel = apple::objc::make<MPSMatrixSum>(m::init_sum, raw(), 2, 4, 6, false);
  const auto said = [&](std::vector<apple::Object*> sources, MPSVector* scales, MPSMatrix* result) {
    return fault_of([&] {
      const auto list = make_array(sources);
      m::encode_sum(kernel.get(), work(), list.get(), result, scales, nullptr, nullptr, 0);
    });
  };
  const mps::Vector one = make_vector({1}), wrong = make_vector({1, 1}, DataType::kFloat16);
  EXPECT_TEXT(said({matrix()}, nullptr, other()), "as the count says");
  EXPECT_TEXT(said({matrix(), half()}, nullptr, other()), "same type");
  EXPECT_TEXT(said({matrix(), other()}, nullptr, other()), "overlaps a source");
  EXPECT_TEXT(said({matrix(), matrix()}, one.object().get(), other()), "in scale vector exceeds");
  EXPECT_TEXT(said({matrix(), matrix()}, wrong.object().get(), other()), "no type of the scales");
}

TEST_F(MpsRawTest, Copies) {
  EXPECT_TEXT(
      fault_of([&] { apple::objc::make<MPSMatrixCopyDescriptor>(m::init_copies, raw(), 0); }),
      "no copies");
  EXPECT_TEXT(
      fault_of([&] { apple::objc::make<MPSMatrixCopy>(m::init_copy, raw(), 0, 3, false, false); }),
      "copies no rows");
  const auto kernel = apple::objc::make<MPSMatrixCopy>(m::init_copy, raw(), 3, 6, false, false);
  const auto said = [&](MPSMatrix* from, MPSMatrix* to, MPSMatrixCopyOffsets offsets,
                        MPSVector* rows, UInteger row_offset) {
    return fault_of([&] {
      const auto one = apple::objc::make<MPSMatrixCopyDescriptor>(m::init_copies, raw(), 1);
      m::set_copy(one.get(), 0, from, to, offsets);
      m::encode_permuted_copy(kernel.get(), work(), one.get(), rows, row_offset, nullptr, 0);
    });
  };
  const mps::Vector order = make_vector({0, 1, 2}, DataType::kUInt32);
  const mps::Vector few = make_vector({0, 1}, DataType::kUInt32), floats = make_vector({0, 1, 2});
  EXPECT_TEXT(said(matrix(), half(), {}, nullptr, 0), "same type");
  EXPECT_TEXT(said(matrix(), other(), {2, 0, 0, 0}, nullptr, 0), "rows in source matrix exceeds");
  EXPECT_TEXT(said(matrix(), matrix(), {0, 0, 1, 0}, nullptr, 0), "overlaps a source");
  EXPECT_TEXT(said(matrix(), other(), {}, floats.object().get(), 0), "no type of the permutation");
  EXPECT_TEXT(said(matrix(), other(), {}, few.object().get(), 0), "in permutation vector exceeds");
  EXPECT_TEXT(said(matrix(), other(), {}, order.object().get(), 1), "not written down");
  const auto unset = apple::objc::make<MPSMatrixCopyDescriptor>(m::init_copies, raw(), 1);
  EXPECT_TEXT(fault_of([&] { m::encode_copy(kernel.get(), work(), unset.get()); }), "was not set");
}

TEST_F(MpsRawTest, RandomNumbers) {
  EXPECT_TEXT(fault_of([&] {
                apple::objc::make<MPSMatrixRandomPhilox>(m::init_philox, raw(), 0x10000010, 1);
              }),
              "Float16 is no type of random numbers");
  EXPECT_TEXT(fault_of([&] {
                apple::objc::make<MPSMatrixRandomPhilox>(
                    m::init_philox_distributed, raw(), kUnsigned, 1, m::uniform_distribution(0, 1));
              }),
              "a distribution is for Float32");
  const auto kernel = apple::objc::make<MPSMatrixRandomMTGP32>(m::init_mtgp32, raw(), kFloat, 1);
  const auto said = [&](MPSMatrix* to) {
    return fault_of([&] { m::encode_random_matrix(kernel.get(), work(), to); });
  };
  EXPECT_TEXT(said(index()), "not the type that was chosen");
  EXPECT_TEXT(said(matrix()), "multiple of 16 bytes");  // rows of 24
  const mps::Matrix rows = make_empty({.rows = 4, .columns = 4});
  m::set_random_batch_start(kernel.get(), 1);
  EXPECT_TEXT(said(rows.object().get()), "beyond the destination");
  const mps::Vector late(device().buffer(32), mps::VectorDescriptor({.length = 4}), 16);
  EXPECT_TEXT(fault_of([&] { m::encode_random_vector(kernel.get(), work(), late.object().get()); }),
              "must begin at offset 0");
}

TEST_F(MpsRawTest, Factorizations) {
  EXPECT_TEXT(
      fault_of([&] { apple::objc::make<MPSMatrixDecompositionLU>(m::init_lu, raw(), 0, 4); }),
      "is 0");
  const auto kernel = apple::objc::make<MPSMatrixDecompositionLU>(m::init_lu, raw(), 4, 4);
  const auto said = [&](MPSMatrix* from, MPSMatrix* to, MPSMatrix* pivots, MTLBuffer* status) {
    return fault_of([&] { m::encode_lu(kernel.get(), work(), from, to, pivots, status); });
  };
  const metal::Buffer tiny = device().buffer(2);
  const metal::Buffer hidden = device().buffer(4, metal::StorageMode::kPrivate);
  EXPECT_TEXT(said(half(), matrix(), index(), nullptr), "Float16 is no type of the source");
  EXPECT_TEXT(said(matrix(), other(), other(), nullptr), "no type of the pivots");
  EXPECT_TEXT(said(matrix(), other(), index(), tiny.object().get()), "beyond a buffer of 2");
  EXPECT_TEXT(said(matrix(), other(), index(), hidden.object().get()), "the CPU cannot read");
  const auto cholesky =
      apple::objc::make<MPSMatrixDecompositionCholesky>(m::init_cholesky, raw(), true, 5);
  EXPECT_TEXT(
      fault_of([&] { m::encode_cholesky(cholesky.get(), work(), matrix(), other(), nullptr); }),
      "rows in source matrix exceeds");
}

TEST_F(MpsRawTest, Solvers) {
  EXPECT_TEXT(fault_of([&] {
                apple::objc::make<MPSMatrixSolveTriangular>(m::init_triangular, raw(), false, false,
                                                            false, false, 0, 1, 1.0);
              }),
              "is 0");
  const auto kernel = apple::objc::make<MPSMatrixSolveTriangular>(m::init_triangular, raw(), false,
                                                                  false, false, false, 4, 2, 1.0);
  const auto said = [&](MPSMatrix* a, MPSMatrix* b, MPSMatrix* x) {
    return fault_of([&] { m::encode_triangular(kernel.get(), work(), a, b, x); });
  };
  EXPECT_TEXT(said(half(), matrix(), other()), "Float16 is no type of the source");
  EXPECT_TEXT(said(matrix(), half(), other()), "no type of the right-hand side");
  EXPECT_TEXT(said(matrix(), other(), half()), "no type of the solution");
  EXPECT_TEXT(said(matrix(), other(), matrix()), "overlaps");
  EXPECT_TEXT(said(matrix(), other(), other()), "overlaps");
  const auto lu = apple::objc::make<MPSMatrixSolveLU>(m::init_solve_lu, raw(), false, 4, 2);
  const mps::Matrix third = make_empty({.rows = 4, .columns = 2});
  EXPECT_TEXT(fault_of([&] {
                m::encode_solve_lu(lu.get(), work(), matrix(), other(), other(),
                                   third.object().get());
              }),
              "no type of the pivots");
}

TEST_F(MpsRawTest, Temporaries) {
  const mps::MatrixDescriptor square({.rows = 4, .columns = 6});
  metal::CommandBuffer foreign = device().queue().command_buffer();
  MPSTemporaryMatrix* const there =
      m::temporary_matrix(foreign.object().get(), square.object().get());
  const auto kernel = apple::objc::make<MPSMatrixSoftMax>(m::init_softmax, raw());
  EXPECT_TEXT(fault_of([&] { m::encode_softmax(kernel.get(), work(), there, other()); }),
              "on another command buffer");
  m::set_read_count(there, 0);
  EXPECT_TEXT(
      fault_of([&] { m::encode_softmax(kernel.get(), foreign.object().get(), there, other()); }),
      "after its readCount was 0");
  EXPECT_TEXT(fault_of([&] { m::set_read_count(there, 1); }), "another's now");
  foreign.commit();
  EXPECT_TEXT(fault_of([&] { m::temporary_matrix(foreign.object().get(), square.object().get()); }),
              "committed already");
}

}  // namespace
}  // namespace wick::test
