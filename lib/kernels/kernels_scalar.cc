// The reference: plain loops, summed in order of index in double where a sum is long, so that the
// other tables can be tested against it.
#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/kernels/kernels.h"
#include "lib/kernels/tables.h"
#include "lib/tensor/tensor.h"

namespace rag {
namespace {

constexpr size_t kPanel = 8;

float Dot(const float* a, const float* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return static_cast<float>(sum);
}

float L2Squared(const float* a, const float* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) {
    const double difference = static_cast<double>(a[i]) - b[i];
    sum += difference * difference;
  }
  return static_cast<float>(sum);
}

void DotRows(const float* query, const float* rows, size_t stride, size_t count, size_t dim,
             float* out) {
  for (size_t i = 0; i < count; ++i) out[i] = Dot(query, rows + i * stride, dim);
}

void L2SquaredRows(const float* query, const float* rows, size_t stride, size_t count, size_t dim,
                   float* out) {
  for (size_t i = 0; i < count; ++i) out[i] = L2Squared(query, rows + i * stride, dim);
}

void Gemm(size_t m, size_t n, size_t k, const float* a, size_t lda, const float* packed_b,
          const float* bias, float* c, size_t ldc) {
  for (size_t column = 0; column < n; ++column) {
    const float* panel = packed_b + (column / kPanel) * kPanel * k + column % kPanel;
    for (size_t row = 0; row < m; ++row) {
      double sum = bias == nullptr ? 0.0 : bias[column];
      for (size_t i = 0; i < k; ++i)
        sum += static_cast<double>(a[row * lda + i]) * panel[i * kPanel];
      c[row * ldc + column] = static_cast<float>(sum);
    }
  }
}

void Gelu(float* x, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    x[i] = static_cast<float>(0.5 * x[i] * (1.0 + std::erf(x[i] / std::sqrt(2.0))));
  }
}

void GeluTanh(float* x, size_t n) {
  constexpr double kScale = 0.7978845608028654;  // sqrt(2 / pi)
  for (size_t i = 0; i < n; ++i) {
    const double value = x[i];
    const double inner = kScale * (value + 0.044715 * value * value * value);
    x[i] = static_cast<float>(0.5 * value * (1.0 + std::tanh(inner)));
  }
}

void Silu(float* x, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    x[i] = static_cast<float>(x[i] / (1.0 + std::exp(-static_cast<double>(x[i]))));
  }
}

// The rows of a product that has been summed.
void ActivateRows(Activation activation, size_t rows, size_t columns, float* c, size_t ldc) {
  for (size_t i = 0; i < rows; ++i) Activate(ScalarKernels(), activation, c + i * ldc, columns);
}

void GemmBf16(const Kernels::Bf16Product& p) {
  const size_t groups = (p.k + 1) / 2;
  for (size_t column = 0; column < p.n; ++column) {
    const uint16_t* panel = p.packed_b + (column / kPanel) * kPanel * groups * 2;
    for (size_t row = 0; row < p.m; ++row) {
      double sum = p.bias == nullptr ? 0.0 : p.bias[column];
      for (size_t i = 0; i < p.k; ++i) {
        const uint16_t b = panel[(i / 2 * kPanel + column % kPanel) * 2 + i % 2];
        sum += static_cast<double>(BFloat16ToFloat(p.a[row * p.lda + i])) * BFloat16ToFloat(b);
      }
      p.c[row * p.ldc + column] = static_cast<float>(sum);
    }
  }
  ActivateRows(p.activation, p.m, p.n, p.c, p.ldc);
}

void GemmInt8(const Kernels::Int8Product& p) {
  const size_t groups = (p.k + 3) / 4;
  for (size_t column = 0; column < p.n; ++column) {
    const int8_t* panel = p.packed_b + kInt8Front + (column / kPanel) * kPanel * groups * 4;
    const float bias = p.bias == nullptr ? 0.0f : p.bias[column];
    for (size_t row = 0; row < p.m; ++row) {
      int32_t sum = 0;
      for (size_t i = 0; i < p.k; ++i) {
        const int8_t b = panel[(i / 4 * kPanel + column % kPanel) * 4 + i % 4];
        sum += static_cast<int32_t>(static_cast<int8_t>(p.a[row * p.lda + i])) * b;
      }
      const Kernels::Int8Row& a = p.a_rows[row];
      double all = static_cast<double>(sum - a.zero * p.b_sums[column]) * a.scale;
      for (const Kernels::Int8Row::Outlier& outlier : a.outliers) {
        const size_t at = outlier.index;
        all += static_cast<double>(outlier.value) *
               panel[(at / 4 * kPanel + column % kPanel) * 4 + at % 4];
      }
      p.c[row * p.ldc + column] = static_cast<float>(all * p.b_scales[column] + bias);
    }
  }
  ActivateRows(p.activation, p.m, p.n, p.c, p.ldc);
}

void RoundBf16(const float* x, size_t n, uint16_t* out) {
  for (size_t i = 0; i < n; ++i) out[i] = FloatToBFloat16(x[i]);
  if (n % 2 != 0) out[n] = 0;
}

Kernels::Int8Row QuantizeInt8(const float* x, size_t n, int32_t steps, float* rest, uint8_t* out) {
  Kernels::Int8Row row;
  std::copy_n(x, n, rest);
  for (Kernels::Int8Row::Outlier& outlier : row.outliers) {
    outlier = {0, 0.0f};
    for (size_t i = 0; i < n; ++i) {
      if (std::abs(rest[i]) > std::abs(outlier.value))
        outlier = {static_cast<uint32_t>(i), rest[i]};
    }
    if (outlier.value != 0) rest[outlier.index] = 0;
  }
  float low = 0;
  float high = 0;
  for (size_t i = 0; i < n; ++i) {
    low = std::min(low, rest[i]);
    high = std::max(high, rest[i]);
  }
  const float range = high - low > kLeastInt8Range ? high - low : 0.0f;
  const float count = static_cast<float>(steps);
  const float factor = range > 0 ? count / range : 0.0f;
  const float zero = std::nearbyint(-127.0f - low * factor);
  for (size_t i = 0; i < n; ++i) {
    const float value = std::nearbyint(rest[i] * factor) + zero;
    // As the vector tables' conversions do with NaN.
    const float clamped = std::isnan(value) ? -128.0f : std::clamp(value, -128.0f, 127.0f);
    out[i] = static_cast<uint8_t>(static_cast<int8_t>(clamped));
  }
  for (size_t i = n; i % 4 != 0; ++i) out[i] = 0;
  row.scale = range / count;
  row.zero = std::isnan(zero) ? 0 : static_cast<int32_t>(zero);
  return row;
}

void Softmax(float* row, size_t n) {
  float largest = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < n; ++i) largest = std::max(largest, row[i]);
  if (largest == -std::numeric_limits<float>::infinity()) {
    std::fill(row, row + n, 0.0f);
    return;
  }
  double sum = 0;
  for (size_t i = 0; i < n; ++i) {
    row[i] = std::exp(row[i] - largest);
    sum += row[i];
  }
  for (size_t i = 0; i < n; ++i) row[i] = static_cast<float>(row[i] / sum);
}

void LayerNorm(const float* x, const float* gamma, const float* beta, float epsilon, float* out,
               size_t n) {
  if (n == 0) return;
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += x[i];
  const double mean = sum / static_cast<double>(n);
  double squares = 0;
  for (size_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const double scale = 1.0 / std::sqrt(squares / static_cast<double>(n) + epsilon);
  for (size_t i = 0; i < n; ++i) {
    out[i] = static_cast<float>((x[i] - mean) * scale * gamma[i] + beta[i]);
  }
}

void RmsNorm(const float* x, const float* gamma, float epsilon, float* out, size_t n) {
  if (n == 0) return;
  double squares = 0;
  for (size_t i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * x[i];
  const double scale = 1.0 / std::sqrt(squares / static_cast<double>(n) + epsilon);
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<float>(x[i] * scale * gamma[i]);
}

void Add(float* x, const float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) x[i] += y[i];
}

void Mul(float* x, const float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) x[i] *= y[i];
}

void Axpy(float a, const float* x, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] += a * x[i];
}

void Attention(const Kernels::AttentionArgs& args) {
  for (size_t i = 0; i < args.q_count; ++i) {
    const size_t visible =
        args.causal ? std::min(args.kv_count, args.causal_offset + i + 1) : args.kv_count;
    float* scores = args.scratch;
    for (size_t j = 0; j < visible; ++j) {
      if ((i > j ? i - j : j - i) > args.window) {
        scores[j] = -std::numeric_limits<float>::infinity();
        continue;
      }
      scores[j] =
          args.scale * Dot(args.q + i * args.q_stride, args.k + j * args.k_stride, args.head_dim);
      if (args.bias != nullptr) {
        scores[j] += args.bias[static_cast<std::ptrdiff_t>(j) - static_cast<std::ptrdiff_t>(i)];
      }
    }
    Softmax(scores, visible);
    float* out = args.out + i * args.out_stride;
    for (size_t d = 0; d < args.head_dim; ++d) {
      double sum = 0;
      for (size_t j = 0; j < visible; ++j) {
        sum += static_cast<double>(scores[j]) * args.v[j * args.v_stride + d];
      }
      out[d] = static_cast<float>(sum);
    }
  }
}

}  // namespace

Kernels::Int8Limits NoInt8Limits(const int8_t*, size_t) { return {kInt8Steps, kInt8Steps}; }

const Kernels& ScalarKernels() {
  static constexpr Kernels kTable = {
      .isa = Isa::kScalar,
      .dot = Dot,
      .l2_squared = L2Squared,
      .dot_rows = DotRows,
      .l2_squared_rows = L2SquaredRows,
      .gemm = Gemm,
      .gemm_panel = kPanel,
      .narrow_row_bytes = 4,
      .gemm_bf16 = GemmBf16,
      .gemm_split = nullptr,
      .gemm_int8 = GemmInt8,
      .round_bf16 = RoundBf16,
      .split_bf16 = nullptr,
      .quantize_int8 = QuantizeInt8,
      .int8_limits = NoInt8Limits,
      .softmax = Softmax,
      .layer_norm = LayerNorm,
      .rms_norm = RmsNorm,
      .gelu = Gelu,
      .gelu_tanh = GeluTanh,
      .silu = Silu,
      .add = Add,
      .mul = Mul,
      .axpy = Axpy,
      .attention = Attention,
  };
  return kTable;
}

}  // namespace rag
