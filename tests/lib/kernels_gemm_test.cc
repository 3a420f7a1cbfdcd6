// gemm with packed B.
#include "lib/nn/linear.h"
#include "tests/lib/kernels_support.h"

namespace rag::test {
namespace {

struct Product {
  size_t m, n, k;
  size_t lda, ldc;
  bool bias;
};

void CheckProduct(const Kernels& kernels, const Product& p, std::mt19937& random) {
  const Floats a(p.m == 0 ? 0 : (p.m - 1) * p.lda + p.k, 1, random);
  const Floats b(p.n * p.k, 3, random);
  const Floats bias(p.n, 1, random);
  const float* bias_data = p.bias ? bias.data() : nullptr;
  const size_t c_size = p.m == 0 ? 0 : (p.m - 1) * p.ldc + p.n;
  constexpr float kUntouched = 12345.0f;

  const auto run = [&](const Kernels& table) {
    std::vector<float> packed(PackedGemmBSize(table, p.n, p.k));
    PackGemmB(
        table, [&](size_t j) { return b.data() + j * p.k; }, p.n, p.k, packed.data());
    Floats c(c_size, 1, kUntouched);
    table.gemm(p.m, p.n, p.k, a.data(), p.lda, packed.data(), bias_data, c.data(), p.ldc);
    return c;
  };
  const Floats c = run(kernels);
  const Floats expected = run(Reference());
  INFO(IsaName(kernels.isa) << " " << p.m << " x " << p.n << " x " << p.k << " bias " << p.bias);
  double worst = 0;  // error over bound
  size_t overwritten = 0;
  for (size_t i = 0; i < p.m; ++i) {
    for (size_t j = 0; j < p.ldc && i * p.ldc + j < c_size; ++j) {
      const size_t at = i * p.ldc + j;
      if (j >= p.n) {
        overwritten += c[at] != kUntouched;
        continue;
      }
      // k products and the bias, summed in any order; the reference rounds once.
      double absolute = p.bias ? std::abs(bias[j]) : 0.0;
      for (size_t l = 0; l < p.k; ++l) {
        absolute += std::abs(static_cast<double>(a[i * p.lda + l]) * b[j * p.k + l]);
      }
      const double bound = (static_cast<double>(p.k) + 2) * kUnit * absolute;
      const double error = std::abs(static_cast<double>(c[at]) - expected[at]);
      worst = std::max(worst, bound > 0 ? error / bound : (error > 0 ? 2.0 : 0.0));
    }
  }
  CHECK(worst <= 1.0);
  CHECK(overwritten == 0);
}

TEST_CASE("Products of awkward shapes agree with the reference") {
  FOR_EACH_VECTOR_TABLE(kernels) {
    std::mt19937 random(4);
    for (const size_t m : {0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 25}) {
      for (const size_t n : {1, 7, 15, 16, 17, 31, 32, 33, 70, 129}) {
        for (const size_t k : {0, 1, 2, 17, 64}) {
          CheckProduct(*kernels, {m, n, k, k + 2, n + 5, (m + n + k) % 2 == 0}, random);
        }
      }
    }
  }
}

TEST_CASE("Products larger than the blocks of k and n agree with the reference") {
  FOR_EACH_VECTOR_TABLE(kernels) {
    std::mt19937 random(5);
    for (const bool bias : {false, true}) {
      CheckProduct(*kernels, {7, 50, 383, 383, 50, bias}, random);
      CheckProduct(*kernels, {14, 33, 385, 400, 40, bias}, random);
      CheckProduct(*kernels, {13, 701, 900, 900, 701, bias}, random);
    }
  }
}

TEST_CASE("A row of a product does not depend on the other rows, bit for bit") {
  FOR_EACH_VECTOR_TABLE(kernels) {
    std::mt19937 random(6);
    constexpr size_t kRows = 29, kOut = 75, kIn = 401;
    const Floats x(kRows * kIn, 0, random);
    const Floats weight(kOut * kIn, 0, random);
    const Floats bias(kOut, 0, random);
    for (const Precision precision : {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
      const Linear linear(*kernels, MatrixView(weight.data(), kOut, kIn), {bias.data(), kOut},
                          precision);
      LinearScratch scratch;
      std::vector<float> all(kRows * kOut);
      linear.Apply(*kernels, kRows, x.data(), kIn, all.data(), kOut, scratch);
      for (size_t begin = 0; begin < kRows; ++begin) {
        for (const size_t count : {1, 2, 4, 9, 12}) {
          if (begin + count > kRows) continue;
          std::vector<float> some(count * kOut);
          linear.Apply(*kernels, count, x.data() + begin * kIn, kIn, some.data(), kOut, scratch);
          REQUIRE(std::equal(some.begin(), some.end(), all.begin() + begin * kOut));
        }
      }
    }
  }
}

}  // namespace
}  // namespace rag::test
