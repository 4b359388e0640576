#include "apple/mps_rules.hpp"

// Copies, random numbers, factorizations, solvers and temporaries.

namespace wick::test {
namespace {

using mps::DataType;
namespace m = apple::mps::messages;
using namespace apple::objc;

TEST_F(MpsRulesTest, Copies) {
  const mps::MatrixCopy checked(device(), 3, 6);
  const auto kernel = apple::objc::make<MPSMatrixCopy>(m::init_copy, raw(), 3, 6, false, false);
  const auto refused = [&](const std::vector<mps::CopyOperation>& copies, std::string_view part,
                           std::string_view said, const mps::CopyPermutation& order = {}) {
    expect_both(
        "mps.matrix_copy", [&] { checked.encode(buffer(), copies, order); }, part,
        [&] {
          const auto all =
              apple::objc::make<MPSMatrixCopyDescriptor>(m::init_copies, raw(), copies.size());
          for (std::size_t i = 0; i < copies.size(); ++i) {
            const mps::CopyOperation& c = copies[i];
            const auto narrow = [](std::uint64_t n) { return static_cast<std::uint32_t>(n); };
            m::set_copy(
                all.get(), i, object_of(c.source), object_of(c.destination),
                {narrow(c.from.row), narrow(c.from.column), narrow(c.to.row), narrow(c.to.column)});
          }
          m::encode_permuted_copy(kernel.get(), work(), all.get(),
                                  order.rows ? object_of(&*order.rows) : nullptr, 0,
                                  order.columns ? object_of(&*order.columns) : nullptr, 0);
        },
        said);
  };
  const mps::CopyOperation plain{matrix(), other()};
  const mps::Vector few = make_vector({0, 1}, DataType::kUInt32), floats = make_vector({0, 1, 2});
  const mps::Vector inside(*other().buffer(),
                           mps::VectorDescriptor({.length = 6, .type = DataType::kUInt32}));
  refused({}, "at least 1 copy; got 0", "a descriptor of no copies");
  refused({{matrix(), half()}}, "must have one type", "same type");
  refused({{matrix(), other(), {2, 0}, {}}}, "the source is 4x6", "rows in source matrix exceeds");
  refused({{matrix(), other(), {}, {0, 1}}}, "the destination is 4x6",
          "columns in destination matrix exceeds");
  refused({{matrix(), matrix(), {}, {1, 0}}}, "the destination and the source must not overlap",
          "overlaps a source");
  refused({plain, {third(), other(), {}, {1, 0}}},
          "the destination and the destination must not overlap", "overlaps another destination");
  refused({plain}, "the row indices must be UInt32; it is Float32", "no type of the permutation",
          {.rows = floats});
  refused({plain}, "the row indices is 1x2; the kernel needs 1x3", "in permutation vector exceeds",
          {.rows = few});
  refused({plain}, "the column indices is 1x2; the kernel needs 1x6",
          "in permutation vector exceeds", {.columns = few});
  refused({plain}, "the destination and the row indices must not overlap", "overlaps a permutation",
          {.rows = inside});
  // What only raw messages can say.
  const auto one = apple::objc::make<MPSMatrixCopyDescriptor>(m::init_copies, raw(), 1);
  EXPECT_TEXT(fault_of([&] { m::encode_copy(kernel.get(), work(), one.get()); }), "was not set");
  EXPECT_TEXT(
      fault_of([&] { m::set_copy(one.get(), 1, object_of(matrix()), object_of(other()), {}); }),
      "index 1 is beyond the count");
  m::set_copy(one.get(), 0, object_of(matrix()), object_of(other()), {});
  EXPECT_TEXT(fault_of([&] {
                m::encode_permuted_copy(kernel.get(), work(), one.get(), object_of(&inside), 1,
                                        nullptr, 0);
              }),
              "not written down");
}

// The GPU reads indices, so that nobody can check them before.
TEST_F(MpsRulesTest, IndicesThatAreBeyondTheCopyFailOnTheGpu) {
  const mps::MatrixCopy copy(device(), 3, 6);
  const mps::CopyOperation one{matrix(), other()};
  copy.encode(buffer(), {&one, 1}, {.rows = make_vector({0, 1, 9}, DataType::kUInt32)});
  buffer().commit();
  EXPECT_TEXT(error_of([&] { buffer().wait(); }).what(), "goes beyond the destination");
}

TEST_F(MpsRulesTest, RandomNumbers) {
  using Generator = mps::MatrixRandom::Generator;
  const mps::MatrixRandom integers(device(), Generator::kMtgp32, 1);
  const auto kernel =
      apple::objc::make<MPSMatrixRandomMTGP32>(m::init_mtgp32, raw(), kRawUnsigned, 1);
  const auto refused = [&](const mps::Matrix& to, std::string_view part, std::string_view said,
                           mps::Batch batch = {}) {
    m::set_random_batch_start(kernel.get(), batch.start);
    expect_both(
        "mps.matrix_random", [&] { integers.encode(buffer(), to, batch); }, part,
        [&] { m::encode_random_matrix(kernel.get(), work(), object_of(to)); }, said);
  };
  const mps::Matrix rows = make_empty({.rows = 4, .columns = 4, .type = DataType::kUInt32});
  refused(matrix(), "must be UInt32; it is Float32", "not the type that was chosen");
  refused(index(), "rows of 24", "multiple of 16 bytes");
  refused(rows, "begins at matrix 1, but the result has 1", "beyond the destination", {1});
  m::set_random_batch_start(kernel.get(), 0);
  const mps::Vector late(device().buffer(32),
                         mps::VectorDescriptor({.length = 4, .type = DataType::kUInt32}), 16);
  expect_both(
      "mps.matrix_random", [&] { integers.encode(buffer(), late); }, "got offset 16",
      [&] { m::encode_random_vector(kernel.get(), work(), object_of(&late)); },
      "must begin at offset 0");
  // No call of ours asks for these.
  EXPECT_TEXT(fault_of([&] {
                apple::objc::make<MPSMatrixRandomPhilox>(m::init_philox, raw(), 0x10000010, 1);
              }),
              "Float16 is no type of random numbers");
  EXPECT_TEXT(fault_of([&] {
                apple::objc::make<MPSMatrixRandomPhilox>(m::init_philox_distributed, raw(),
                                                         kRawUnsigned, 1,
                                                         m::uniform_distribution(0, 1));
              }),
              "a distribution is for Float32");
}

TEST_F(MpsRulesTest, Factorizations) {
  const mps::MatrixDecompositionLU lu(device(), 4, 4);
  const auto raw_lu = apple::objc::make<MPSMatrixDecompositionLU>(m::init_lu, raw(), 4, 4);
  const auto refused = [&](const mps::Matrix& from, const mps::Matrix& to,
                           const mps::Matrix& pivots, const metal::Buffer* status,
                           std::string_view part, std::string_view said) {
    expect_both(
        "mps.matrix_decomposition_lu", [&] { lu.encode(buffer(), from, to, pivots, status); }, part,
        [&] {
          m::encode_lu(raw_lu.get(), work(), object_of(from), object_of(to), object_of(pivots),
                       status == nullptr ? nullptr : status->object().get());
        },
        said);
  };
  const metal::Buffer tiny = device().buffer(2);
  const metal::Buffer hidden = device().buffer(4, metal::StorageMode::kPrivate);
  const mps::Matrix low = make_empty({.rows = 3, .columns = 6});
  const mps::Matrix few = make_empty({.rows = 1, .columns = 3, .type = DataType::kUInt32});
  const mps::Matrix shifted(*matrix().buffer(),
                            mps::MatrixDescriptor({.rows = 4, .columns = 4, .row_bytes = 20}), 4);
  refused(half(), other(), index(), nullptr, "the source must be Float32; it is Float16",
          "Float16 is no type of the source");
  refused(matrix(), half(), index(), nullptr, "the result must be Float32; it is Float16",
          "Float16 is no type of the result");
  refused(matrix(), other(), third(), nullptr, "the pivots must be UInt32",
          "no type of the pivots");
  refused(low, other(), index(), nullptr, "the source is 3x6; the kernel needs 4x4",
          "rows in source matrix exceeds");
  refused(matrix(), low, index(), nullptr, "the result is 3x6; the kernel needs 4x4",
          "rows in result matrix exceeds");
  refused(matrix(), other(), few, nullptr, "the pivots is 1x3; the kernel needs 1x4",
          "columns in pivot indices exceeds");
  refused(matrix(), shifted, index(), nullptr, "the result and the source must not overlap",
          "overlaps the source");
  refused(matrix(), other(), again(matrix(), DataType::kUInt32), nullptr,
          "the pivots and the source must not overlap", "overlaps the source");
  refused(matrix(), other(), again(other(), DataType::kUInt32), nullptr,
          "the pivots and the result must not overlap", "overlaps the result");
  refused(matrix(), other(), index(), &tiny, "at least 4 bytes; it has 2", "beyond a buffer of 2");
  refused(matrix(), other(), index(), &hidden, "must be shared memory", "the CPU cannot read");

  const mps::MatrixDecompositionCholesky cholesky(device(), true, 4);
  const auto raw_cholesky =
      apple::objc::make<MPSMatrixDecompositionCholesky>(m::init_cholesky, raw(), true, 4);
  const auto refused_cholesky = [&](const mps::Matrix& from, const mps::Matrix& to,
                                    std::string_view part, std::string_view said) {
    expect_both(
        "mps.matrix_decomposition_cholesky", [&] { cholesky.encode(buffer(), from, to); }, part,
        [&] {
          m::encode_cholesky(raw_cholesky.get(), work(), object_of(from), object_of(to), nullptr);
        },
        said);
  };
  refused_cholesky(half(), other(), "the source must be Float32", "no type of the source");
  refused_cholesky(matrix(), half(), "the result must be Float32", "no type of the result");
  refused_cholesky(low, other(), "the source is 3x6", "rows in source matrix exceeds");
  refused_cholesky(matrix(), low, "the result is 3x6", "rows in result matrix exceeds");
  refused_cholesky(matrix(), shifted, "the result and the source must not overlap",
                   "overlaps the source");
}

TEST_F(MpsRulesTest, Solvers) {
  const mps::MatrixSolveTriangular triangular(device(), 4, 2);
  const mps::MatrixSolveLU lu(device(), 4, 2);
  const mps::MatrixSolveCholesky cholesky(device(), false, 4, 2);
  const auto raw_triangular = apple::objc::make<MPSMatrixSolveTriangular>(
      m::init_triangular, raw(), false, false, false, false, 4, 2, 1.0);
  const auto raw_lu = apple::objc::make<MPSMatrixSolveLU>(m::init_solve_lu, raw(), false, 4, 2);
  const auto raw_cholesky =
      apple::objc::make<MPSMatrixSolveCholesky>(m::init_solve_cholesky, raw(), false, 4, 2);
  const auto refused_lu = [&](const mps::Matrix& a, const mps::Matrix& b, const mps::Matrix& pivots,
                              const mps::Matrix& x, std::string_view part, std::string_view said) {
    expect_both(
        "mps.matrix_solve_lu", [&] { lu.encode(buffer(), a, b, pivots, x); }, part,
        [&] {
          m::encode_solve_lu(raw_lu.get(), work(), object_of(a), object_of(b), object_of(pivots),
                             object_of(x));
        },
        said);
  };
  const auto refused = [&](const mps::Matrix& a, const mps::Matrix& b, const mps::Matrix& x,
                           std::string_view part, std::string_view said) {
    expect_both(
        "mps.matrix_solve_triangular", [&] { triangular.encode(buffer(), a, b, x); }, part,
        [&] {
          m::encode_triangular(raw_triangular.get(), work(), object_of(a), object_of(b),
                               object_of(x));
        },
        said);
    expect_both(
        "mps.matrix_solve_cholesky", [&] { cholesky.encode(buffer(), a, b, x); }, part,
        [&] {
          m::encode_solve_cholesky(raw_cholesky.get(), work(), object_of(a), object_of(b),
                                   object_of(x));
        },
        said);
    refused_lu(a, b, index(), x, part, said);
  };
  const mps::Matrix low = make_empty({.rows = 3, .columns = 6});
  refused(half(), other(), third(), "must be Float32; it is Float16", "no type of the source");
  refused(matrix(), half(), third(), "the right-hand side must be Float32",
          "no type of the right-hand side");
  refused(matrix(), other(), half(), "the solution must be Float32", "no type of the solution");
  refused(low, other(), third(), "is 3x6; the kernel needs 4x4", "rows in source matrix exceeds");
  refused(matrix(), low, third(), "the right-hand side is 3x6; the kernel needs 4x2",
          "rows in right hand side matrix exceeds");
  refused(matrix(), other(), low, "the solution is 3x6; the kernel needs 4x2",
          "rows in solution matrix exceeds");
  refused(matrix(), other(), matrix(), "must not overlap", "overlaps the source");
  refused(matrix(), other(), other(), "the solution and the right-hand side must not overlap",
          "overlaps the right-hand side");
  const mps::Matrix few = make_empty({.rows = 1, .columns = 3, .type = DataType::kUInt32});
  refused_lu(matrix(), other(), third(), third(), "the pivots must be UInt32",
             "no type of the pivots");
  refused_lu(matrix(), other(), few, third(), "the pivots is 1x3; the kernel needs 1x4",
             "columns in pivot indices exceeds");
  refused_lu(matrix(), other(), again(third(), DataType::kUInt32), third(),
             "the solution and the pivots must not overlap", "overlaps the pivots");
}

// The GPU reads the pivots, so that nobody can check them before.
TEST_F(MpsRulesTest, PivotsThatAreBeyondTheMatrixFailOnTheGpu) {
  const mps::MatrixSolveLU lu(device(), 4, 2);
  lu.encode(buffer(), matrix(), other(), index(), third());  // all ones: no row has that number
  buffer().commit();
  EXPECT_TEXT(error_of([&] { buffer().wait(); }).what(), "a pivot is beyond the matrix");
}

TEST_F(MpsRulesTest, Temporaries) {
  const mps::MatrixDescriptor square({.rows = 4, .columns = 6});
  metal::CommandBuffer foreign = device().queue().command_buffer();
  const mps::MatrixSoftMax checked(device());
  const auto kernel = apple::objc::make<MPSMatrixSoftMax>(m::init_softmax, raw());
  const auto refused = [&](metal::CommandBuffer& on, const mps::Matrix& input,
                           std::string_view part, std::string_view said) {
    expect_both(
        "mps.matrix_softmax", [&] { checked.encode(on, input, other()); }, part,
        [&] {
          m::encode_softmax(kernel.get(), on.object().get(), object_of(input), object_of(other()));
        },
        said);
  };
  const mps::TemporaryMatrix there(foreign, square);
  refused(buffer(), there, "belongs to another command buffer", "on another command buffer");
  auto* const object = static_cast<MPSTemporaryMatrix*>(object_of(there));
  m::set_read_count(object, 0);
  refused(foreign, there, "its memory is another's", "after its readCount was 0");
  EXPECT_TEXT(fault_of([&] { m::set_read_count(object, 1); }), "another's now");
  foreign.commit();
  expect_both(
      "mps.temporary_matrix", [&] { mps::TemporaryMatrix(foreign, square); }, "committed already",
      [&] { m::temporary_matrix(foreign.object().get(), square.object().get()); },
      "committed already");
}

TEST_F(MpsRulesTest, TemporariesWithoutMemory) {
  const mps::MatrixDescriptor square({.rows = 4, .columns = 6});
  softmetal::inject({.buffer_allocation = 1});
  const Error error = error_of([&] { mps::TemporaryMatrix(buffer(), square); });
  EXPECT_EQ(error.kind(), ErrorKind::kOutOfMemory);
  EXPECT_EQ(error.op(), "mps.temporary_matrix");
  EXPECT_TEXT(error.what(), "no memory for 96 bytes");
}

// Ours gives back what nobody has read; MPS finds it when the memory goes.
TEST_F(MpsRulesTest, TemporariesAreRead) {
  const mps::MatrixDescriptor square({.rows = 4, .columns = 6});
  metal::CommandBuffer foreign = device().queue().command_buffer();
  m::temporary_matrix(foreign.object().get(), square.object().get());
  foreign.commit();
  foreign.wait();
  const auto late = softmetal::late_faults();
  ASSERT_EQ(late.size(), 1u);
  EXPECT_TEXT(late[0], "released with a readCount of 1");
}

TEST_F(MpsRulesTest, WhatOnlyRawMessagesGetWrong) {
  const auto softmax = apple::objc::make<MPSMatrixSoftMax>(m::init_softmax, raw());
  MPSMatrix* const good = object_of(matrix());
  MPSMatrix* const result = object_of(third());
  EXPECT_TEXT(fault_of([&] { m::encode_softmax(softmax.get(), nullptr, good, result); }),
              "may not be nil");
  // Our messages take no object of another class: by the pointer it is one.
  apple::Object* const no_buffer = good;
  EXPECT_TEXT(fault_of([&] {
                m::encode_softmax(softmax.get(), static_cast<MTLCommandBuffer*>(no_buffer), good,
                                  result);
              }),
              "of the wrong class");
  EXPECT_TEXT(fault_of([&] { m::init_softmax(softmax.get(), raw()); }), "initialised twice");
  MPSMatrix* dangling = nullptr;
  {
    const mps::Matrix gone = make(random(4, 6, 9));
    dangling = object_of(gone);
  }
  EXPECT_TEXT(fault_of([&] { m::encode_softmax(softmax.get(), work(), dangling, result); }),
              "a deallocated MPSMatrix is used");
  m::set_source_origin(softmax.get(), {0, 0, 1});
  EXPECT_TEXT(fault_of([&] { m::encode_softmax(softmax.get(), work(), good, result); }),
              "origin.z must be 0");
  const auto product = apple::objc::make<MPSMatrixVectorMultiplication>(
      m::init_vector_multiplication, raw(), false, 4, 6, 1.0, 0.0);
  m::set_secondary_origin(product.get(), {0, 1, 0});
  const mps::Vector x = first_row(other(), 6), y = first_row(third(), 4);
  EXPECT_TEXT(fault_of([&] {
                m::encode_vector_multiplication(product.get(), work(), good, object_of(&x),
                                                object_of(&y));
              }),
              "origin.y of a vector must be 0");
  const auto neuron = apple::objc::make<MPSMatrixNeuron>(m::init_neuron, raw());
  const auto bytes = apple::objc::make<NSData>(m::init_data, "abc", 3);
  EXPECT_TEXT(fault_of([&] { m::set_slopes(neuron.get(), bytes.get()); }), "are no floats");
}

// Each matrix of a batch is encoded by itself, which reads a temporary once more.
TEST_F(MpsRulesTest, ASolverOfABatchReadsNoTemporary) {
  const mps::Matrix known = make(random(2, 1, 1, 2));
  const mps::Matrix solution = make_empty({.rows = 2, .columns = 1, .matrices = 2});
  const mps::MatrixSolveTriangular solver(device(), 2, 1);
  const mps::TemporaryMatrix source(
      buffer(), mps::MatrixDescriptor({.rows = 2, .columns = 2, .matrices = 2}));
  const auto kernel = apple::objc::make<MPSMatrixSolveTriangular>(m::init_triangular, raw(), false,
                                                                  false, false, false, 2, 1, 1.0);
  m::set_binary_batch_size(kernel.get(), 1);
  expect_both(
      "mps.matrix_solve_triangular", [&] { solver.encode(buffer(), source, known, solution); },
      "the source is temporary: it cannot be read for each of 2 matrices",
      [&] {
        for (int i = 0; i < 2; ++i) {
          m::encode_triangular(kernel.get(), work(), object_of(source), object_of(known),
                               object_of(solution));
        }
      },
      "after its readCount was 0");
}

// The same with a product that is cut.
TEST_F(MpsRulesTest, AProductThatIsCutReadsNoTemporary) {
  const mps::Matrix full = make(random(4, 4, 1)), result = make_empty({.rows = 4, .columns = 4});
  const mps::MatrixMultiplication product(device(), 4, 4, 4, {.limits = {.dimension = 2}});
  const auto kernel = apple::objc::make<MPSMatrixMultiplication>(m::init_multiplication, raw(),
                                                                 false, false, 2, 2, 2, 1.0, 0.0);
  const auto refused = [&](const mps::Matrix& left, const mps::Matrix& right) {
    expect_both(
        "mps.matrix_multiplication", [&] { product.encode(buffer(), left, right, result); },
        "8 parts reads its operands as often",
        [&] {
          for (int i = 0; i < 8; ++i) {
            m::encode_multiplication(kernel.get(), work(), object_of(left), object_of(right),
                                     object_of(result));
          }
        },
        "after its readCount was 0");
  };
  const mps::MatrixDescriptor square({.rows = 4, .columns = 4});
  refused(mps::TemporaryMatrix(buffer(), square), full);
  refused(full, mps::TemporaryMatrix(buffer(), square));
}

}  // namespace
}  // namespace wick::test
