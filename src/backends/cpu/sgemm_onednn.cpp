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

#if defined(WICK_OPENMP)
SingleThreadedSgemm::SingleThreadedSgemm() : before_(omp_get_max_threads()) {
  omp_set_num_threads(1);
}
SingleThreadedSgemm::~SingleThreadedSgemm() { omp_set_num_threads(before_); }
#else
// Without OpenMP oneDNN has no threads of its own to hold back.
SingleThreadedSgemm::SingleThreadedSgemm() = default;
SingleThreadedSgemm::~SingleThreadedSgemm() = default;
#endif

}  // namespace wick::cpu
