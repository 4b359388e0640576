#include "apple/mps/mps_messages.hpp"
#include "apple/mps_test_support.hpp"

namespace wick::test {
namespace {

using mps::DataType;
namespace m = apple::mps::messages;

/// op(left) op(right) of the stored matrices.
std::vector<double> product_of(const Host& left, const Host& right, bool tl, bool tr, double alpha,
                               double beta, const std::vector<double>& old) {
  const std::uint64_t rows = tl ? left.columns : left.rows;
  const std::uint64_t inner = tl ? left.rows : left.columns;
  const std::uint64_t columns = tr ? right.rows : right.columns;
  std::vector<double> result;
  for (std::uint64_t b = 0; b < left.matrices; ++b) {
    for (std::uint64_t i = 0; i < rows; ++i) {
      for (std::uint64_t j = 0; j < columns; ++j) {
        double sum = 0;
        for (std::uint64_t k = 0; k < inner; ++k) {
          sum += (tl ? left.at(b, k, i) : left.at(b, i, k)) *
                 (tr ? right.at(b, j, k) : right.at(b, k, j));
        }
        result.push_back(alpha * sum + (beta == 0 ? 0 : beta * old[result.size()]));
      }
    }
  }
  return result;
}

class MpsProductTest : public MpsTest {
 protected:
  std::vector<double> multiply(const Host& left, const Host& right) const {
    const mps::Matrix a = make(left), b = make(right);
    const mps::Matrix c = make_empty({.rows = left.rows, .columns = right.columns});
    const mps::MatrixMultiplication product(device(), left.rows, right.columns, left.columns);
    run([&](metal::CommandBuffer& buffer) { product.encode(buffer, a, b, c); });
    return values_of(c);
  }
};

TEST_F(MpsProductTest, SmallProducts) {
  EXPECT_EQ(multiply({2, 2, 1, {1, 2, 3, 4}}, {2, 2, 1, {5, 6, 7, 8}}),
            (std::vector<double>{19, 22, 43, 50}));
  EXPECT_EQ(multiply({2, 3, 1, {1, 2, 3, 4, 5, 6}}, {3, 2, 1, {7, 8, 9, 10, 11, 12}}),
            (std::vector<double>{58, 64, 139, 154}));
}

TEST_F(MpsProductTest, InnerDimensionsThatDifferAreAnError) {
  const mps::Matrix a = make(random(2, 3, 1)), b = make(random(2, 3, 2));
  const mps::Matrix c = make_empty({.rows = 2, .columns = 3});
  const mps::MatrixMultiplication product(device(), 2, 3, 3);
  metal::CommandBuffer buffer = device().queue().command_buffer();
  expect_refused(error_of([&] { product.encode(buffer, a, b, c); }), "mps.matrix_multiplication",
                 "the right matrix is 2x3; the kernel needs 3x3 of it from row 0 and column 0");
}

struct Sizes {
  std::uint64_t rows, columns, inner;
};

TEST_F(MpsProductTest, EveryTransposeFactorBatchOffsetAndType) {
  constexpr Sizes kSizes[] = {{1, 1, 1}, {5, 7, 3}, {16, 9, 33}};
  for (const Sizes s : kSizes) {
    for (int choice = 0; choice < 4 * 2 * 2 * 2 * 2; ++choice) {
      const bool tl = choice & 1, tr = choice & 2, scaled = choice & 4, added = choice & 8;
      const bool padded = choice & 16;
      const DataType type = choice & 32 ? DataType::kFloat16 : DataType::kFloat32;
      const std::uint64_t batch = choice % 3 + 1, element = mps::element_bytes(type);
      const double alpha = scaled ? -0.75 : 1, beta = added ? 0.5 : 0;
      const Host left = random(tl ? s.inner : s.rows, tl ? s.rows : s.inner, choice, batch);
      const Host right =
          random(tr ? s.columns : s.inner, tr ? s.inner : s.columns, choice + 100, batch);
      const Host old = random(s.rows, s.columns, choice + 200, batch);
      const auto layout = [&](const Host& h) {
        const std::uint64_t row_bytes = (h.columns + (padded ? 3 : 0)) * element;
        return mps::MatrixLayout{.rows = h.rows,
                                 .columns = h.columns,
                                 .type = type,
                                 .row_bytes = row_bytes,
                                 .matrices = batch,
                                 .matrix_bytes = (h.rows + (padded ? 1 : 0)) * row_bytes};
      };
      const std::size_t offset = padded ? 5 * element : 0;
      const mps::Matrix a = make(layout(left), left.values, offset);
      const mps::Matrix b = make(layout(right), right.values, offset);
      // Without beta what was there must not be read: it is NaN.
      const mps::Matrix c =
          added ? make(layout(old), old.values, offset) : make_empty(layout(old), offset);
      const mps::MatrixMultiplication product(
          device(), s.rows, s.columns, s.inner,
          {.transpose_left = tl, .transpose_right = tr, .alpha = alpha, .beta = beta});
      run([&](metal::CommandBuffer& buffer) { product.encode(buffer, a, b, c); });
      SCOPED_TRACE(choice);
      expect_near(values_of(c), product_of(left, right, tl, tr, alpha, beta, old.values),
                  type == DataType::kFloat16 ? 1e-3 : 1e-6);
    }
  }
}

TEST_F(MpsProductTest, OriginsAndBatchesChooseParts) {
  const Host left = random(4, 6, 1, 3), right = random(7, 5, 2, 3);
  const mps::Matrix a = make(left), b = make(right);
  const mps::Matrix c = make({.rows = 5, .columns = 4, .matrices = 3}, std::vector<double>(60, 9));
  const mps::MatrixMultiplication product(device(), 2, 3, 4);
  run([&](metal::CommandBuffer& buffer) {
    product.encode(buffer, a, b, c,
                   {.left = {1, 2}, .right = {3, 1}, .result = {2, 1}, .batch = {1, 1}});
  });
  std::vector<double> expected(60, 9);
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 3; ++j) {
      double sum = 0;
      for (int k = 0; k < 4; ++k) sum += left.at(1, 1 + i, 2 + k) * right.at(1, 3 + k, 1 + j);
      expected[20 + (2 + i) * 4 + 1 + j] = sum;
    }
  }
  expect_near(values_of(c), expected, 1e-6);
}

TEST_F(MpsProductTest, MixedTypes) {
  const Host left = random(3, 8, 1), right = random(8, 2, 2);
  const auto check = [&](DataType a, DataType b, DataType c, double scale) {
    Host l = left, r = right;
    for (double& x : l.values) x = std::round(x * scale);
    for (double& x : r.values) x = std::round(x * scale);
    const mps::Matrix result = make_empty({.rows = 3, .columns = 2, .type = c});
    const mps::Matrix in_left = make(l, a), in_right = make(r, b);
    const mps::MatrixMultiplication product(device(), 3, 2, 8);
    run([&](metal::CommandBuffer& buffer) { product.encode(buffer, in_left, in_right, result); });
    expect_near(values_of(result), product_of(l, r, false, false, 1, 0, {}), 1e-3);
  };
  using enum DataType;
  check(kFloat16, kFloat16, kFloat32, 4);
  check(kFloat32, kFloat16, kFloat32, 4);
  check(kInt8, kInt8, kFloat16, 10);
  check(kInt8, kInt8, kFloat32, 100);
  check(kInt16, kInt16, kFloat32, 100);
}

TEST_F(MpsProductTest, HalfPrecisionIsConvertedAsEverywhere) {
  // Every Float16 through a product by 1; the library's own conversion says what it is.
  constexpr std::uint64_t kCount = 65536;
  const mps::MatrixDescriptor column({.rows = kCount, .columns = 1, .type = DataType::kFloat16});
  std::vector<std::uint16_t> all(kCount);
  for (std::size_t i = 0; i < kCount; ++i) all[i] = static_cast<std::uint16_t>(i);
  const mps::Matrix a(upload(all), column), one = make({1, 1, 1, {1}}, DataType::kFloat16);
  const mps::Matrix wide = make_empty({.rows = kCount, .columns = 1});
  const mps::Matrix same = make_empty({.rows = kCount, .columns = 1, .type = DataType::kFloat16});
  const mps::MatrixMultiplication product(device(), kCount, 1, 1);
  run([&](metal::CommandBuffer& buffer) {
    product.encode(buffer, a, one, wide);
    product.encode(buffer, a, one, same);
  });
  const auto expected = values_of(a), in_float = values_of(wide), in_half = values_of(same);
  for (std::size_t i = 0; i < kCount; ++i) {
    if (std::isnan(expected[i])) {
      ASSERT_TRUE(std::isnan(in_float[i]) && std::isnan(in_half[i])) << i;
    } else {
      ASSERT_EQ(in_float[i], expected[i]) << i;
      ASSERT_EQ(in_half[i], expected[i]) << i;
    }
  }
}

TEST_F(MpsProductTest, AProductBeyondTheLimitsIsCut) {
  const Host left = random(7, 11, 1), right = random(11, 9, 2), old = random(7, 9, 3);
  for (int choice = 0; choice < 4; ++choice) {
    const bool tl = choice & 1, tr = choice & 2;
    const auto turned = [](const Host& h) {
      Host t{h.columns, h.rows, 1, std::vector<double>(h.values.size())};
      for (std::uint64_t i = 0; i < h.rows; ++i) {
        for (std::uint64_t j = 0; j < h.columns; ++j) t.at(0, j, i) = h.at(0, i, j);
      }
      return t;
    };
    const mps::Matrix a = make(tl ? turned(left) : left), b = make(tr ? turned(right) : right);
    const mps::Matrix c = make(old);
    const mps::MatrixMultiplication product(device(), 7, 9, 11,
                                            {.transpose_left = tl,
                                             .transpose_right = tr,
                                             .alpha = 2,
                                             .beta = 0.5,
                                             .limits = {.dimension = 4, .band_bytes = 100}});
    EXPECT_EQ(product.parts(), 2u * 5u * 3u) << "rows 4 + 3, columns by 2, inner 4 + 4 + 3";
    run([&](metal::CommandBuffer& buffer) { product.encode(buffer, a, b, c); });
    expect_near(values_of(c), product_of(left, right, false, false, 2, 0.5, old.values), 1e-6);
  }
}

TEST(MpsProductLimits, TilesCoverTheProductAndKeepTheLimits) {
  const auto check = [](std::uint64_t rows, std::uint64_t columns, std::uint64_t inner,
                        std::size_t tiles) {
    const auto cut = mps::cut_product(rows, columns, inner, 4);
    EXPECT_EQ(cut.size(), tiles);
    std::uint64_t terms = 0;
    for (const mps::ProductTile& t : cut) {
      EXPECT_LT((t.rows + 2 * t.inner_length) * t.columns * 4, std::uint64_t{7} << 28);
      EXPECT_LE(std::max({t.rows, t.columns, t.inner_length}), 32766u);
      terms += t.rows * t.columns * t.inner_length;
    }
    EXPECT_EQ(terms, rows * columns * inner);
  };
  check(1024, 1024, 1024, 1);
  check(13377, 13377, 13377, 2);  // the smallest square that MPS is known to get wrong
  check(512, 128256, 2048, 4);    // logits of a large vocabulary
  check(16, 16, 32767, 2);        // a sum that is one term too long
  check(32766, 4700, 32766, 1);
  EXPECT_THROW(mps::cut_product(0, 1, 1, 4), Error);
}

// ---- refusals: each with what MPS would say

class MpsRefusalTest : public MpsTest {
 protected:
  /// The same by raw messages.
  void raw_product(const mps::Matrix& a, const mps::Matrix& b, const mps::Matrix& c,
                   std::uint64_t rows, std::uint64_t columns, std::uint64_t inner,
                   apple::objc::MTLOrigin origin = {}, std::uint64_t batch = 0) const {
    const apple::AutoreleaseScope scope;
    const auto kernel = apple::objc::make<apple::objc::MPSMatrixMultiplication>(
        m::init_multiplication, device().object().get(), false, false, rows, columns, inner, 1.0,
        0.0);
    const metal::CommandBuffer buffer = device().queue().command_buffer();
    m::set_product_origin(kernel.get(), origin);
    m::set_product_batch_start(kernel.get(), batch);
    m::encode_multiplication(kernel.get(), buffer.object().get(), a.object().get(),
                             b.object().get(), c.object().get());
  }
  Error checked_product(const mps::Matrix& a, const mps::Matrix& b, const mps::Matrix& c,
                        std::uint64_t rows, std::uint64_t columns, std::uint64_t inner,
                        const mps::MultiplicationPlace& place = {}) const {
    return error_of([&] {
      const mps::MatrixMultiplication product(device(), rows, columns, inner);
      metal::CommandBuffer buffer = device().queue().command_buffer();
      product.encode(buffer, a, b, c, place);
    });
  }
  static constexpr std::string_view kOp = "mps.matrix_multiplication";
};

TEST_F(MpsRefusalTest, Descriptors) {
  const auto described = [](const mps::MatrixLayout& layout) {
    return error_of([&] { const mps::MatrixDescriptor made(layout); });
  };
  constexpr std::string_view kDescriptor = "mps.matrix_descriptor";
  expect_refused(described({.rows = 0, .columns = 3}), kDescriptor, "got 0, 3 and 1");
  expect_refused(described({.rows = 2, .columns = 3, .row_bytes = 8}), kDescriptor,
                 "a multiple of 4 and at least 12; got 8");
  expect_refused(described({.rows = 2, .columns = 3, .row_bytes = 14}), kDescriptor, "got 14");
  expect_refused(described({.rows = 2, .columns = 3, .matrices = 2, .matrix_bytes = 12}),
                 kDescriptor, "matrix_bytes must be a multiple of 12 and at least 24; got 12");
  expect_refused(described({.rows = 2, .columns = 3, .matrices = 2, .matrix_bytes = 30}),
                 kDescriptor, "got 30");
  expect_refused(described({.rows = 4, .columns = 3, .row_bytes = std::uint64_t{1} << 62}),
                 kDescriptor, "more bytes");
  expect_refused(described({.rows = 1, .columns = 1, .type = static_cast<DataType>(7)}),
                 "mps.data_type", "7 is no DataType");
  expect_refused(error_of([] { const mps::VectorDescriptor made({.length = 0}); }),
                 "mps.vector_descriptor", "got 0 and 1");
  expect_refused(
      error_of([] { const mps::VectorDescriptor made({.length = 3, .vector_bytes = 8}); }),
      "mps.vector_descriptor", "at least 12; got 8");
  // What MPS says of a row stride that is too small.
  const apple::AutoreleaseScope scope;
  const metal::Buffer buffer = device().buffer(64);
  auto* const raw = m::describe_matrices(2, 3, 1, 8, 24, 0x10000020);
  EXPECT_TEXT(fault_of([&] {
                apple::objc::make<apple::objc::MPSMatrix>(m::init_matrix, buffer.object().get(), 0,
                                                          raw);
              }),
              "not enough rowBytes for all the columns.");
}

TEST_F(MpsRefusalTest, BuffersThatAreTooSmall) {
  // The last row needs no padding: 16 + 12 bytes.
  const mps::MatrixDescriptor padded({.rows = 2, .columns = 3, .row_bytes = 16});
  EXPECT_EQ(padded.bytes(), 28u);
  EXPECT_NO_THROW(mps::Matrix(device().buffer(28), padded));
  const metal::Buffer small = device().buffer(27), enough = device().buffer(36);
  expect_refused(error_of([&] { mps::Matrix(small, padded); }), "mps.matrix",
                 "27 bytes; 28 are needed from offset 0");
  EXPECT_NO_THROW(mps::Matrix(enough, padded, 8));
  expect_refused(error_of([&] { mps::Matrix(enough, padded, 12); }), "mps.matrix", "offset 12");
  expect_refused(error_of([&] { mps::Matrix(enough, padded, 6); }), "mps.matrix",
                 "a multiple of 4; got 6");
  const mps::VectorDescriptor vector({.length = 7});
  expect_refused(error_of([&] { mps::Vector(small, vector); }), "mps.vector", "28 are needed");
  const apple::AutoreleaseScope scope;
  EXPECT_TEXT(fault_of([&] {
                apple::objc::make<apple::objc::MPSMatrix>(m::init_matrix, small.object().get(), 0,
                                                          padded.object().get());
              }),
              "beyond a buffer of 27");
  EXPECT_TEXT(fault_of([&] {
                apple::objc::make<apple::objc::MPSMatrix>(m::init_matrix, nullptr, 0,
                                                          padded.object().get());
              }),
              "may not be nil");
}

TEST_F(MpsRefusalTest, SizesOriginsAndBatches) {
  const mps::Matrix a = make(random(2, 3, 1)), b = make(random(3, 4, 2));
  const mps::Matrix c = make_empty({.rows = 2, .columns = 4});
  expect_refused(checked_product(a, b, c, 3, 4, 3), kOp, "the left matrix is 2x3");
  EXPECT_TEXT(fault_of([&] { raw_product(a, b, c, 3, 4, 3); }),
              "Number of requested rows in left input matrix exceeds left input matrix size.");
  expect_refused(checked_product(a, b, c, 2, 5, 3), kOp, "the right matrix is 3x4");
  EXPECT_TEXT(fault_of([&] { raw_product(a, b, c, 2, 5, 3); }), "right input matrix");
  expect_refused(checked_product(a, b, c, 2, 4, 3, {.result = {1, 0}}), kOp,
                 "the result is 2x4; the kernel needs 2x4 of it from row 1 and column 0");
  EXPECT_TEXT(fault_of([&] { raw_product(a, b, c, 2, 4, 3, {1, 0, 0}); }),
              "Number of requested rows in result matrix exceeds");
  EXPECT_TEXT(fault_of([&] { raw_product(a, b, c, 2, 4, 3, {0, 0, 1}); }), "origin.z");
  expect_refused(checked_product(a, b, c, 2, 4, 3, {.batch = {1, 1}}), kOp,
                 "begins at matrix 1, but the result has 1");
  EXPECT_TEXT(fault_of([&] { raw_product(a, b, c, 2, 4, 3, {}, 1); }), "batchStart 1");
  const mps::Matrix many = make_empty({.rows = 2, .columns = 4, .matrices = 2});
  expect_refused(checked_product(a, b, many, 2, 4, 3), kOp,
                 "the left matrix has 1 matrices; the batch needs 2 from 0 on");
  EXPECT_TEXT(fault_of([&] { raw_product(a, b, many, 2, 4, 3); }), "1 matrices of left");
  expect_refused(checked_product(a, b, c, 2, 4, 3, {.batch = {0, 0}}), kOp, "must not be empty");
  expect_refused(error_of([&] { mps::MatrixMultiplication(device(), 2, 0, 3); }), kOp,
                 "got 2, 0 and 3");
}

TEST_F(MpsRefusalTest, TypesAndFactors) {
  const Host h = random(2, 2, 1);
  const mps::Matrix f = make(h), half = make(h, DataType::kFloat16);
  const mps::Matrix brain = make(h, DataType::kBFloat16);
  const mps::Matrix c = make_empty({.rows = 2, .columns = 2});
  expect_refused(checked_product(brain, brain, c, 2, 2, 2), kOp,
                 "does not multiply BFloat16 by BFloat16 into Float32");
  EXPECT_TEXT(fault_of([&] { raw_product(brain, brain, c, 2, 2, 2); }), "BFloat16");
  expect_refused(checked_product(half, f, c, 2, 2, 2), kOp, "Float16 by Float32");
  EXPECT_TEXT(fault_of([&] { raw_product(half, f, c, 2, 2, 2); }), "no product");
  EXPECT_THROW(mps::MatrixMultiplication(device(), 2, 2, 2, {.alpha = std::nan("")}), Error);
  const mps::Matrix small = make_empty({.rows = 2, .columns = 2, .type = DataType::kFloat16});
  const mps::MatrixMultiplication large(device(), 2, 2, 2, {.alpha = 1e6});
  metal::CommandBuffer buffer = device().queue().command_buffer();
  expect_refused(error_of([&] { large.encode(buffer, half, half, small); }), kOp,
                 "alpha must be a number that Float16 holds");
}

TEST_F(MpsRefusalTest, OverlapsAndStatesOfTheCommandBuffer) {
  const Host h = random(4, 8, 1);
  const mps::Matrix whole = make(h);
  const mps::Matrix other = make(random(4, 4, 2));
  // The left half of each row is an operand, the right half the result: they do not overlap.
  const mps::MatrixMultiplication product(device(), 4, 4, 4);
  run([&](metal::CommandBuffer& buffer) {
    product.encode(buffer, whole, other, whole, {.result = {0, 4}});
  });
  expect_refused(checked_product(whole, other, whole, 4, 4, 4, {.result = {0, 3}}), kOp,
                 "the result and the left matrix must not overlap; they begin at bytes 12 and 0");
  EXPECT_TEXT(fault_of([&] { raw_product(whole, other, whole, 4, 4, 4, {0, 3, 0}); }),
              "overlaps the left matrix");
  expect_refused(checked_product(other, whole, whole, 4, 4, 4, {.result = {0, 3}}), kOp,
                 "the result and the right matrix must not overlap");
  EXPECT_TEXT(fault_of([&] { raw_product(other, whole, whole, 4, 4, 4, {0, 3, 0}); }),
              "overlaps the right matrix");
  metal::CommandBuffer buffer = device().queue().command_buffer();
  const mps::Matrix c = make_empty({.rows = 4, .columns = 4});
  {
    const metal::ComputeEncoder open = buffer.compute_encoder();
    expect_refused(error_of([&] { product.encode(buffer, whole, other, c); }), kOp, "is open");
  }
  buffer.commit();
  expect_refused(error_of([&] { product.encode(buffer, whole, other, c); }), kOp,
                 "committed already");
  buffer.wait();
}

// ---- temporaries

TEST_F(MpsProductTest, TemporariesLiveUntilTheyAreRead) {
  const Host a = random(3, 3, 1), b = random(3, 3, 2);
  const mps::Matrix in_a = make(a), in_b = make(b);
  const mps::Matrix c = make_empty({.rows = 3, .columns = 3});
  const mps::MatrixMultiplication product(device(), 3, 3, 3);
  const mps::MatrixDescriptor square({.rows = 3, .columns = 3});
  run([&](metal::CommandBuffer& buffer) {
    const mps::TemporaryMatrix between(buffer, square);
    product.encode(buffer, in_a, in_b, between);
    EXPECT_EQ(between.reads_left(), 1u);
    product.encode(buffer, between, in_b, c);
    EXPECT_EQ(between.reads_left(), 0u);
    expect_refused(error_of([&] { product.encode(buffer, between, in_b, c); }),
                   "mps.matrix_multiplication", "its memory is another's");
    metal::CommandBuffer foreign = device().queue().command_buffer();
    const mps::TemporaryMatrix there(foreign, square);
    expect_refused(error_of([&] { product.encode(buffer, there, in_b, c); }),
                   "mps.matrix_multiplication", "another command buffer");
    expect_refused(error_of([&] { mps::TemporaryMatrix(buffer, square, 0); }),
                   "mps.temporary_matrix", "got 0 reads");
    // Never read, and alive beyond the commit: nothing is left over.
    const mps::TemporaryMatrix unread(buffer, square, 3);
  });
  const std::vector<double> ab = product_of(a, b, false, false, 1, 0, {});
  expect_near(values_of(c), product_of({3, 3, 1, ab}, b, false, false, 1, 0, {}), 1e-6);
}

// ---- vectors

TEST_F(MpsProductTest, MatrixTimesVector) {
  for (int choice = 0; choice < 16; ++choice) {
    const bool transpose = choice & 1;
    const double alpha = choice & 2 ? 1.5 : 1, beta = choice & 4 ? -2 : 0;
    const DataType type = choice & 8 ? DataType::kFloat16 : DataType::kFloat32;
    const Host matrix = random(transpose ? 6 : 5, transpose ? 5 : 6, 1);
    const Host x = random(6, 1, 2), y = random(5, 1, 3);
    const mps::Matrix a = make(matrix, type);
    const mps::Vector in = make_vector(x.values, type);
    const mps::Vector out = make_vector(y.values);
    const mps::MatrixVectorMultiplication product(
        device(), 5, 6, {.transpose = transpose, .alpha = alpha, .beta = beta});
    run([&](metal::CommandBuffer& buffer) { product.encode(buffer, a, in, out); });
    expect_near(values_of(out), product_of(matrix, x, transpose, false, alpha, beta, y.values),
                1e-6);
  }
  const mps::Matrix a = make(random(5, 6, 1));
  const mps::Vector x = make_vector(random(6, 1, 2).values);
  const mps::Vector y = make_vector(std::vector<double>(4, 7));
  const mps::MatrixVectorMultiplication part(device(), 2, 3);
  run([&](metal::CommandBuffer& buffer) {
    part.encode(buffer, a, x, y, {.matrix = {1, 2}, .input = 3, .result = 2});
    expect_refused(error_of([&] { part.encode(buffer, a, x, y, {.input = 4}); }),
                   "mps.matrix_vector_multiplication", "the input is 1x6");
    expect_refused(error_of([&] { part.encode(buffer, a, y, y, {.result = 2}); }),
                   "mps.matrix_vector_multiplication", "must not overlap");
  });
  EXPECT_EQ(values_of(y)[1], 7);
  const Host ha = random(5, 6, 1), hx = random(6, 1, 2);
  double sum = 0;
  for (int k = 0; k < 3; ++k) sum += ha.at(0, 2, 2 + k) * hx.values[3 + k];
  EXPECT_NEAR(values_of(y)[3], sum, 1e-6);
}

TEST_F(MpsProductTest, KernelsAreCountedAndFailuresAreErrors) {
  const mps::Matrix a = make(random(3, 3, 1)), b = make(random(3, 3, 2));
  const mps::Matrix c = make_empty({.rows = 3, .columns = 3});
  const softmetal::Counters before = softmetal::counters();
  const mps::MatrixMultiplication product(device(), 3, 3, 3);
  const metal::CommandQueue queue = device().queue();
  metal::CommandBuffer buffer = queue.command_buffer();
  for (int i = 0; i < 5; ++i) product.encode(buffer, a, b, c);
  softmetal::inject({.command_buffer = 1});
  buffer.commit();
  EXPECT_EQ(error_of([&] { buffer.wait(); }).kind(), ErrorKind::kBackend);
  const softmetal::Counters after = softmetal::counters();
  EXPECT_EQ(after.mps_kernels - before.mps_kernels, 1u);
  EXPECT_EQ(after.mps_encodes - before.mps_encodes, 5u);
  EXPECT_TRUE(std::isnan(values_of(c)[0]));
}

TEST_F(MpsProductTest, DescriptorsAndMatricesShareByCopy) {
  const long before = softmetal::live_objects()["MPSMatrixDescriptor"];
  const mps::MatrixDescriptor first({.rows = 2, .columns = 3});
  std::optional<mps::MatrixDescriptor> copy = first;
  EXPECT_EQ(copy->object().get(), first.object().get());
  EXPECT_EQ(softmetal::live_objects()["MPSMatrixDescriptor"], before + 1);
  copy.reset();
  EXPECT_EQ(first.layout().row_bytes, 12u);
  EXPECT_GE(mps::MatrixDescriptor::recommended_row_bytes(3, DataType::kFloat16), 6u);
  const mps::Matrix matrix(device().buffer(24), first);
  const mps::Matrix same = matrix;
  EXPECT_EQ(same.object().get(), matrix.object().get());
}

}  // namespace
}  // namespace wick::test
