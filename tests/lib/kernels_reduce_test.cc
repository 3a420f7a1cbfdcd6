// dot and l2_squared, alone and over rows.
#include "tests/lib/kernels_support.h"

namespace rag::test {
namespace {

// Any order of summation of n products is within n units of the sum of their absolute values
// (Higham, Accuracy and Stability of Numerical Algorithms, 3.1); the reference rounds once more.
double DotBound(const float* a, const float* b, size_t n) {
  double absolute = 0;
  for (size_t i = 0; i < n; ++i) absolute += std::abs(static_cast<double>(a[i]) * b[i]);
  return (static_cast<double>(n) + 2) * kUnit * absolute;
}

// As above, with two more roundings for the difference, which is squared.
double L2Bound(const float* a, const float* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += std::pow(static_cast<double>(a[i]) - b[i], 2);
  return (static_cast<double>(n) + 4) * kUnit * sum;
}

TEST_CASE("Vector dot and l2_squared agree with the reference at awkward lengths") {
  FOR_EACH_VECTOR_TABLE(kernels) {
    std::mt19937 random(1);
    for (const size_t n : kAwkwardLengths) {
      for (const size_t offset : {0, 1, 3}) {
        const Floats a(n, offset, random);
        const Floats b(n, 2 * offset, random);
        INFO(IsaName(kernels->isa) << " n " << n << " offset " << offset);
        CHECK(std::abs(kernels->dot(a.data(), b.data(), n) -
                       Reference().dot(a.data(), b.data(), n)) <= DotBound(a.data(), b.data(), n));
        CHECK(std::abs(kernels->l2_squared(a.data(), b.data(), n) -
                       Reference().l2_squared(a.data(), b.data(), n)) <=
              L2Bound(a.data(), b.data(), n));
      }
    }
  }
}

TEST_CASE("Products that cancel stay within the bound of their absolute sum") {
  FOR_EACH_VECTOR_TABLE(kernels) {
    std::mt19937 random(2);
    constexpr size_t kSize = 1001;
    Floats a(kSize, 0, random, 1e3f);
    Floats b(kSize, 0, random, 1e3f);
    for (size_t i = 0; i + 1 < kSize; i += 2) {
      a[i + 1] = a[i];
      b[i + 1] = -b[i];
    }
    CHECK(std::abs(kernels->dot(a.data(), b.data(), kSize) -
                   Reference().dot(a.data(), b.data(), kSize)) <=
          DotBound(a.data(), b.data(), kSize));
    CHECK(kernels->l2_squared(a.data(), a.data(), kSize) == 0.0f);
  }
}

TEST_CASE("A row's distance is the same alone and among others, bit for bit") {
  FOR_EACH_VECTOR_TABLE(kernels) {
    std::mt19937 random(3);
    for (const size_t dim : {1, 5, 16, 25, 100, 128, 384, 387}) {
      for (const size_t count : {0, 1, 2, 3, 4, 5, 9}) {
        const size_t stride = dim + 3;
        const Floats query(dim, 1, random);
        const Floats rows(count == 0 ? 0 : (count - 1) * stride + dim, 2, random);
        std::vector<float> dots(count + 1, 7.0f);
        std::vector<float> distances(count + 1, 7.0f);
        kernels->dot_rows(query.data(), rows.data(), stride, count, dim, dots.data());
        kernels->l2_squared_rows(query.data(), rows.data(), stride, count, dim, distances.data());
        INFO(IsaName(kernels->isa) << " dim " << dim << " count " << count);
        for (size_t i = 0; i < count; ++i) {
          CHECK(dots[i] == kernels->dot(query.data(), rows.data() + i * stride, dim));
          CHECK(distances[i] == kernels->l2_squared(query.data(), rows.data() + i * stride, dim));
        }
        CHECK(dots[count] == 7.0f);
        CHECK(distances[count] == 7.0f);
      }
    }
  }
}

}  // namespace
}  // namespace rag::test
