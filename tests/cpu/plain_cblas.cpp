// Stands in for Apple's Accelerate on other systems: what CBLAS defines, by plain loops that take the arguments at
// their word and end the process where CBLAS would report a bad one.
#include <cstdio>
#include <cstdlib>

namespace {

enum Order { kRowMajor = 101 };
enum Transpose { kNoTranspose = 111, kTranspose = 112 };

void require(bool holds, const char* rule) {
  if (holds) return;
  std::fprintf(stderr, "cblas_sgemm: %s\n", rule);
  std::abort();
}

}  // namespace

extern "C" void cblas_sgemm(int order, int transpose_a, int transpose_b, int M, int N, int K,
                            float alpha, const float* a, int a_stride, const float* b, int b_stride,
                            float beta, float* c, int c_stride) {
  require(order == kRowMajor, "order");
  require(transpose_a == kNoTranspose || transpose_a == kTranspose, "transpose_a");
  require(transpose_b == kNoTranspose || transpose_b == kTranspose, "transpose_b");
  const bool a_rows = transpose_a == kNoTranspose;
  const bool b_rows = transpose_b == kNoTranspose;
  require(M > 0 && N > 0 && K > 0, "sizes");
  require(a_stride >= (a_rows ? K : M), "a_stride");
  require(b_stride >= (b_rows ? N : K), "b_stride");
  require(c_stride >= N, "c_stride");
  for (long i = 0; i < M; ++i) {
    for (long j = 0; j < N; ++j) {
      double sum = 0;
      for (long k = 0; k < K; ++k) {
        sum += double{a[a_rows ? i * a_stride + k : k * a_stride + i]} *
               b[b_rows ? k * b_stride + j : j * b_stride + k];
      }
      float& result = c[i * c_stride + j];
      result = static_cast<float>(alpha * sum + (beta == 0 ? 0.0 : double{beta} * result));
    }
  }
}
