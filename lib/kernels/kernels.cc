#include "lib/kernels/kernels.h"

#include <algorithm>

#include "lib/kernels/tables.h"

namespace rag {
namespace {

// Everything that cmake/rooms.cmake lets the compiler use in the files of an instruction set.
bool HasAvx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("f16c");
}

bool HasAvx512() {
  return HasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16") &&
         __builtin_cpu_supports("avx512vbmi");
}

}  // namespace

const Kernels* GetKernels(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return &ScalarKernels();
    case Isa::kAvx2:
      return HasAvx2() ? &Avx2Kernels() : nullptr;
    case Isa::kAvx512:
      return HasAvx512() ? &Avx512Kernels() : nullptr;
  }
  return nullptr;
}

size_t AttentionScratch(size_t kv_count, size_t head_dim) {
  // The scalar table keeps one row of scores, the others a block of them and a block of keys.
  return std::max(kv_count, (kMaxAttentionRows + head_dim) * kKeyBlock);
}

size_t PackedGemmBSize(const Kernels& kernels, size_t n, size_t k) {
  const size_t panel = kernels.gemm_panel;
  return (n + panel - 1) / panel * panel * k;
}

// Panel p holds columns [p * panel, (p + 1) * panel) of b^T, k-major: element (i, j) of the panel
// at i * panel + j; the last panel is filled up with zeros.
void PackGemmB(const Kernels& kernels, const float* b, size_t ldb, size_t n, size_t k,
               float* packed) {
  const size_t panel = kernels.gemm_panel;
  for (size_t first = 0; first < n; first += panel) {
    const size_t width = std::min(panel, n - first);
    for (size_t i = 0; i < k; ++i) {
      for (size_t j = 0; j < panel; ++j) {
        packed[i * panel + j] = j < width ? b[(first + j) * ldb + i] : 0.0f;
      }
    }
    packed += panel * k;
  }
}

}  // namespace rag
