#include <oneapi/dnnl/dnnl.h>
#if defined(WICK_OPENMP)
#include <omp.h>
#endif

#include "backends/cpu/sgemm.hpp"
#include "base/check.hpp"

namespace wick::cpu {

void sgemm(const Sgemm& p) {
  const dnnl_status_t status =
      dnnl_sgemm(p.a.transposed ? 'T' : 'N', p.b.transposed ? 'T' : 'N', p.M, p.N, p.K, p.alpha,
                 p.a.data, p.a.stride, p.b.data, p.b.stride, p.beta, p.c, p.c_stride);
  detail::check(status == dnnl_success, "oneDNN refused a product of valid sizes");
}

std::string_view sgemm_name() { return "onednn"; }

bool sgemm_has_matrix_units() { return false; }  // for f32

// So on Intel's; AMD's multiply half as fast with the widest vectors, so that tiles wait less for memory.
bool sgemm_turns_ahead_of_tiles() {
#if defined(__x86_64__)
  static const bool ahead = __builtin_cpu_is("amd") == 0;
  return ahead;
#else
  return true;
#endif
}

int set_sgemm_threads(int n) {
#if defined(WICK_OPENMP)
  const int before = omp_get_max_threads();
  omp_set_num_threads(n);
  return before;
#else
  return n;  // without OpenMP it has no threads of its own
#endif
}

}  // namespace wick::cpu
