#include "lib/kernels/kernels.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "lib/kernels/tables.h"
#include "lib/tensor/tensor.h"

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

// Linux lets a process use tiles once it has asked (Documentation/arch/x86/xstate.rst), since their
// state does not fit into the signal frames that programs of old reserve; threads that run already
// may use them then too.
bool MayUseTiles() {
#if defined(SYS_arch_prctl)
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  static const bool kGranted = ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return kGranted;
#else
  return false;
#endif
}

bool HasAmx() {
  return HasAvx512() && __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-int8") &&
         __builtin_cpu_supports("amx-bf16") && MayUseTiles();
}

// One row of weights, evenly around zero: a zero of their own would cost another sum. Gives the
// scale.
float QuantizeWeights(const float* x, size_t n, int8_t* out) {
  float largest = 0;
  for (size_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(x[i]));
  if (!(largest > kLeastInt8Range)) largest = 0;
  const float factor = largest > 0 ? 127.0f / largest : 0.0f;
  for (size_t i = 0; i < n; ++i) {
    const float value = std::nearbyint(x[i] * factor);
    out[i] = static_cast<int8_t>(std::isnan(value) ? 0.0f : std::clamp(value, -127.0f, 127.0f));
  }
  return largest / 127.0f;
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
    case Isa::kAmx:
      return HasAmx() ? &AmxKernels() : nullptr;
  }
  return nullptr;
}

void Activate(const Kernels& kernels, Activation activation, float* x, size_t n) {
  switch (activation) {
    case Activation::kNone:
      return;
    case Activation::kGelu:
      return kernels.gelu(x, n);
    case Activation::kGeluTanh:
      return kernels.gelu_tanh(x, n);
    case Activation::kSilu:
      return kernels.silu(x, n);
  }
}

size_t AttentionScratch(size_t kv_count, size_t head_dim) {
  // The scalar table keeps one row of scores, the others a block of them and a block of keys.
  return std::max(
      {kv_count, (kMaxAttentionRows + head_dim) * kKeyBlock, AmxAttentionFloats(head_dim)});
}

size_t PackedGemmBSize(const Kernels& kernels, size_t n, size_t k) {
  const size_t panel = kernels.gemm_panel;
  return (n + panel - 1) / panel * panel * k;
}

size_t Bf16RowSize(const Kernels& kernels, size_t k) {
  const size_t step = kernels.narrow_row_bytes / sizeof(uint16_t);
  return (k + step - 1) / step * step;
}

size_t Int8RowSize(const Kernels& kernels, size_t k) {
  const size_t step = kernels.narrow_row_bytes;
  return (k + step - 1) / step * step;
}

size_t PackedGemmBf16Size(const Kernels& kernels, size_t n, size_t k) {
  return PackedGemmBSize(kernels, n, Bf16RowSize(kernels, k));
}

size_t PackedGemmInt8Size(const Kernels& kernels, size_t n, size_t k) {
  return PackedGemmBSize(kernels, n, Int8RowSize(kernels, k));
}

// As PackGemmB, with groups of 2 elements of a column side by side, zeros after the last.
void PackGemmBf16(const Kernels& kernels, const float* b, size_t ldb, size_t n, size_t k,
                  uint16_t* packed) {
  const size_t panel = kernels.gemm_panel;
  const size_t padded = Bf16RowSize(kernels, k);
  for (size_t first = 0; first < n; first += panel) {
    for (size_t i = 0; i < padded; i += 2) {
      for (size_t j = first; j < first + panel; ++j) {
        for (size_t g = i; g < i + 2; ++g) {
          *packed++ = j < n && g < k ? FloatToBFloat16(b[j * ldb + g]) : 0;
        }
      }
    }
  }
}

// Of every 64 bytes of a column's first halves in all columns of a panel, then of its second ones:
// steps of a product, each with all that it multiplies.
void PackGemmSplit(const Kernels& kernels, const float* b, size_t ldb, size_t n, size_t k,
                   uint16_t* packed) {
  const size_t panel = kernels.gemm_panel;
  const size_t padded = Bf16RowSize(kernels, k);
  const size_t step = kernels.narrow_row_bytes / sizeof(uint16_t);
  std::vector<uint16_t> row(2 * padded);
  const size_t columns = (n + panel - 1) / panel * panel;
  for (size_t j = 0; j < columns; ++j) {
    if (j < n) {
      kernels.split_bf16(b + j * ldb, k, row.data());
    } else {
      std::fill(row.begin(), row.end(), uint16_t{0});
    }
    uint16_t* const column = packed + j / panel * panel * 2 * padded + j % panel * 2;
    for (size_t i = 0; i < padded; i += 2) {
      uint16_t* const high = column + (i / step * 2 * step + i % step) * panel;
      std::memcpy(high, &row[i], 2 * sizeof(uint16_t));
      std::memcpy(high + step * panel, &row[padded + i], 2 * sizeof(uint16_t));
    }
  }
}

void PackGemmInt8(const Kernels& kernels, const float* b, size_t ldb, size_t n, size_t k,
                  int8_t* packed, float* scales, int32_t* sums) {
  const size_t panel = kernels.gemm_panel;
  const size_t padded = Int8RowSize(kernels, k);
  std::vector<int8_t> row(padded);
  for (size_t j = 0; j < n; ++j) {
    scales[j] = QuantizeWeights(b + j * ldb, k, row.data());
    sums[j] = 0;
    int8_t* column = packed + j / panel * panel * padded + j % panel * 4;
    for (size_t i = 0; i < padded; ++i) {
      const int8_t value = row[i];
      sums[j] += value;
      column[i / 4 * panel * 4 + i % 4] = value;
    }
  }
  const size_t columns = (n + panel - 1) / panel * panel;
  for (size_t j = n; j < columns; ++j) {
    int8_t* column = packed + j / panel * panel * padded + j % panel * 4;
    for (size_t i = 0; i < padded; ++i) column[i / 4 * panel * 4 + i % 4] = 0;
  }
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
