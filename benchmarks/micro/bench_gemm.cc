// Single-threaded matrix products: GFLOP/s of each kernel table in f32, bf16 and int8 (whose
// operations are counted as f32's) and, where the build found it, of OpenBLAS on the same operands
// in turn. Rounding A is not timed.
//
//   bench_gemm [repetitions]
//
// Prints one line a shape and implementation: the median of the repetitions and their range.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <list>
#include <random>
#include <string>
#include <vector>

#include "lib/base/status.h"
#include "lib/kernels/kernels.h"
#include "lib/tensor/tensor.h"

#if defined(RAG_WITH_OPENBLAS)
#include <cblas-openblas.h>
#endif

namespace {

using rag::GetKernels;
using rag::Isa;
using rag::Kernels;
using rag::Matrix;
using rag::StrCat;

struct Shape {
  size_t m, n, k;
};

// The encoder's products (MiniLM and BERT base), a decoder's step, and awkward ones.
constexpr Shape kShapes[] = {{512, 768, 768}, {512, 768, 3072}, {512, 3072, 768},
                             {48, 1152, 384}, {48, 1536, 384},  {48, 384, 1536},
                             {10, 1152, 384}, {1, 1536, 384},   {509, 331, 257}};

double Seconds(const std::function<void()>& body) {
  const auto begin = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

Matrix RandomMatrix(size_t rows, size_t cols, std::mt19937& random) {
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  Matrix matrix(rows, cols);
  for (size_t i = 0; i < rows * cols; ++i) matrix.data()[i] = uniform(random);
  return matrix;
}

struct Candidate {
  std::string name;
  std::function<void()> run;
  std::vector<double> gflops;
};

// The operands in bf16 and int8, as one table wants them.
class Narrow {
 public:
  Narrow(const Kernels& kernels, const Shape& shape, const Matrix& a, const Matrix& b, Matrix& c)
      : kernels_(kernels), shape_(shape), c_(c) {
    const auto [m, n, k] = shape;
    bf16_a_.resize(m * Bf16RowSize(kernels, k));
    int8_a_.resize(m * Int8RowSize(kernels, k));
    rows_.resize(m);
    for (size_t i = 0; i < m; ++i) {
      kernels.round_bf16(a.row(i).data(), k, &bf16_a_[i * Bf16RowSize(kernels, k)]);
    }
    bf16_b_.resize(PackedGemmBf16Size(kernels, n, k));
    const auto rows = [&b](size_t j) { return b.row(j).data(); };
    PackGemmBf16(kernels, rows, n, k, bf16_b_.data());
    int8_b_.resize(PackedGemmInt8Size(kernels, n, k));
    scales_.resize(n);
    sums_.resize(n);
    std::vector<int8_t> values(k);
    const auto rounded = [&](size_t j) {
      scales_[j] = rag::QuantizeWeights(rows(j), k, values.data());
      return values.data();
    };
    inputs_ = PackGemmInt8(kernels, rounded, n, k, int8_b_.data(), sums_.data());
    std::vector<float> rest(k);
    for (size_t i = 0; i < m; ++i) {
      rows_[i] = kernels.quantize_int8(a.row(i).data(), k, inputs_.steps, rest.data(),
                                       &int8_a_[i * Int8RowSize(kernels, k)]);
    }
  }
  void RunBf16() const {
    kernels_.gemm_bf16({shape_.m, shape_.n, shape_.k, bf16_a_.data(),
                        Bf16RowSize(kernels_, shape_.k), bf16_b_.data(), nullptr, c_.data(),
                        shape_.n});
  }
  void RunInt8() const {
    kernels_.gemm_int8({shape_.m,
                        shape_.n,
                        shape_.k,
                        int8_a_.data(),
                        Int8RowSize(kernels_, shape_.k),
                        rows_.data(),
                        int8_b_.data(),
                        scales_.data(),
                        sums_.data(),
                        nullptr,
                        c_.data(),
                        shape_.n,
                        {},
                        inputs_.two_groups});
  }

 private:
  const Kernels& kernels_;
  const Shape shape_;
  Matrix& c_;
  std::vector<uint16_t> bf16_a_, bf16_b_;
  std::vector<uint8_t> int8_a_;
  std::vector<Kernels::Int8Row> rows_;
  std::vector<int8_t> int8_b_;
  std::vector<float> scales_;
  std::vector<int32_t> sums_;
  rag::Int8Inputs inputs_;
};

void Measure(const Shape& shape, int repetitions) {
  std::mt19937 random(1);
  const Matrix a = RandomMatrix(shape.m, shape.k, random);
  const Matrix b = RandomMatrix(shape.n, shape.k, random);
  Matrix c(shape.m, shape.n);
  const double flops = 2.0 * static_cast<double>(shape.m * shape.n * shape.k);
  // About 20 ms a repetition at 100 GFLOP/s, so that the clock's grain does not count.
  const int calls = static_cast<int>(std::max(1.0, 2e9 / flops));

  std::vector<Matrix> packed;
  packed.reserve(std::size(rag::kAllIsas));
  std::vector<Candidate> candidates;
  std::list<Narrow> narrow;
  for (const Isa isa : rag::kAllIsas) {
    const Kernels* kernels = GetKernels(isa);
    if (kernels == nullptr || isa == Isa::kScalar) continue;
    narrow.emplace_back(*kernels, shape, a, b, c);
    const Narrow& products = narrow.back();
    candidates.push_back({StrCat(IsaName(isa), " bf16"), [&products] { products.RunBf16(); }, {}});
    candidates.push_back({StrCat(IsaName(isa), " int8"), [&products] { products.RunInt8(); }, {}});
    if (isa == Isa::kAmx) continue;  // f32 is AVX-512's
    packed.emplace_back(1, PackedGemmBSize(*kernels, shape.n, shape.k));
    float* packed_b = packed.back().data();
    PackGemmB(
        *kernels, [&b](size_t j) { return b.row(j).data(); }, shape.n, shape.k, packed_b);
    candidates.push_back({StrCat(IsaName(isa), " f32"),
                          [&, kernels, packed_b] {
                            kernels->gemm(shape.m, shape.n, shape.k, a.data(), shape.k, packed_b,
                                          nullptr, c.data(), shape.n);
                          },
                          {}});
  }
#if defined(RAG_WITH_OPENBLAS)
  openblas_set_num_threads(1);
  candidates.push_back({"openblas",
                        [&] {
                          cblas_sgemm(
                              CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(shape.m),
                              static_cast<int>(shape.n), static_cast<int>(shape.k), 1.0f, a.data(),
                              static_cast<int>(shape.k), b.data(), static_cast<int>(shape.k), 0.0f,
                              c.data(), static_cast<int>(shape.n));
                        },
                        {}});
#endif
  for (int repetition = -1; repetition < repetitions; ++repetition) {
    for (Candidate& candidate : candidates) {
      const double seconds = Seconds([&] {
        for (int i = 0; i < calls; ++i) candidate.run();
      });
      // The first one warms up.
      if (repetition >= 0) candidate.gflops.push_back(flops * calls / seconds * 1e-9);
    }
  }
  for (Candidate& candidate : candidates) {
    std::sort(candidate.gflops.begin(), candidate.gflops.end());
    std::printf("%4zu x %4zu x %4zu  %-12s  %7.1f GFLOP/s  (%.1f to %.1f)\n", shape.m, shape.n,
                shape.k, candidate.name.c_str(), candidate.gflops[candidate.gflops.size() / 2],
                candidate.gflops.front(), candidate.gflops.back());
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int repetitions = argc > 1 ? std::atoi(argv[1]) : 15;
  if (repetitions < 1) {
    std::fprintf(stderr, "usage: bench_gemm [repetitions]\n");
    return 2;
  }
  for (const Shape& shape : kShapes) Measure(shape, repetitions);
  return 0;
}
