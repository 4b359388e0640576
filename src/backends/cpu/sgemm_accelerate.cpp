#include "backends/cpu/sgemm.hpp"

// Declared here, since Apple's header marks this function as deprecated from macOS 13.3 on, and what it offers instead
// is not in macOS 13.0.
extern "C" {
// NOLINTNEXTLINE(readability-identifier-naming): the name and the parameters of CBLAS
void cblas_sgemm(int order, int transpose_a, int transpose_b, int M, int N, int K, float alpha,
                 const float* a, int a_stride, const float* b, int b_stride, float beta, float* c,
                 int c_stride);
}

namespace wick::cpu {

namespace {

constexpr int kRowMajor = 101;
constexpr int kAsItIs = 111;
constexpr int kTransposed = 112;

int transpose(const SgemmOperand& x) { return x.transposed ? kTransposed : kAsItIs; }
int narrow(std::int64_t size) { return static_cast<int>(size); }  // at most kSgemmLargest

}  // namespace

void sgemm(const Sgemm& p) {
  cblas_sgemm(kRowMajor, transpose(p.a), transpose(p.b), narrow(p.M), narrow(p.N), narrow(p.K),
              p.alpha, p.a.data, narrow(p.a.stride), p.b.data, narrow(p.b.stride), p.beta, p.c,
              narrow(p.c_stride));
}

std::string_view sgemm_name() { return "accelerate"; }

bool sgemm_has_matrix_units() { return true; }

bool sgemm_turns_ahead_of_tiles() { return true; }

// macOS can be told from version 15 on only; the work is done by the matrix units, which all threads share.
int set_sgemm_threads(int n) { return n; }

}  // namespace wick::cpu
