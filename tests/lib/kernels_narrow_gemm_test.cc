// gemm_bf16 and gemm_int8 with what rounds and packs for them.
#include "lib/nn/linear.h"
#include "lib/tensor/tensor.h"
#include "tests/lib/kernels_support.h"

namespace rag::test {
namespace {

struct Shape {
  size_t m, n, k;
};

std::vector<Shape> AwkwardShapes() {
  std::vector<Shape> shapes;
  for (const size_t m : {0, 1, 2, 3, 5, 11, 12, 13, 16, 17, 25, 32, 49}) {
    for (const size_t n : {1, 15, 16, 17, 33, 70}) {
      for (const size_t k : {0, 1, 2, 3, 4, 5, 17, 64, 65}) shapes.push_back({m, n, k});
    }
  }
  shapes.push_back({14, 701, 900});
  shapes.push_back({7, 33, 4097});
  return shapes;
}

// x W^T + bias by `kernels` in `precision`; rows of x and y are apart.
std::vector<float> Multiply(const Kernels& kernels, Precision precision, const Shape& s,
                            const Floats& x, const Floats& weight, std::span<const float> bias,
                            Activation activation = Activation::kNone) {
  const Linear linear(kernels, MatrixView(weight.data(), s.n, s.k), bias, precision);
  LinearScratch scratch;
  std::vector<float> y(s.m * (s.n + 3), 12345.0f);
  linear.Apply(kernels, s.m, x.data(), s.k + 1, y.data(), s.n + 3, scratch, activation);
  return y;
}

// x W^T + bias in 8 bits by the reference, whose inputs take as many steps as those of `kernels`.
std::vector<float> MultiplyInt8(const Kernels& kernels, const Shape& s, const Floats& x,
                                const Floats& weight, std::span<const float> bias) {
  std::vector<int8_t> values(s.k);
  std::vector<float> scales(s.n);
  std::vector<int32_t> sums(s.n);
  const auto rounded = [&](size_t j) {
    scales[j] = QuantizeWeights(weight.data() + j * s.k, s.k, values.data());
    return values.data();
  };
  std::vector<int8_t> packed(PackedGemmInt8Size(kernels, s.n, s.k));
  const int32_t steps = PackGemmInt8(kernels, rounded, s.n, s.k, packed.data(), sums.data()).steps;
  const Kernels& reference = Reference();
  packed.resize(PackedGemmInt8Size(reference, s.n, s.k));
  PackGemmInt8(reference, rounded, s.n, s.k, packed.data(), sums.data());
  const size_t width = Int8RowSize(reference, s.k);
  std::vector<uint8_t> a(s.m * width);
  std::vector<Kernels::Int8Row> rows(s.m);
  std::vector<float> rest(s.k);
  for (size_t i = 0; i < s.m; ++i) {
    rows[i] = reference.quantize_int8(x.data() + i * (s.k + 1), s.k, steps, rest.data(),
                                      a.data() + i * width);
  }
  std::vector<float> y(s.m * (s.n + 3), 12345.0f);
  reference.gemm_int8({.m = s.m,
                       .n = s.n,
                       .k = s.k,
                       .a = a.data(),
                       .lda = width,
                       .a_rows = rows.data(),
                       .packed_b = packed.data(),
                       .b_scales = scales.data(),
                       .b_sums = sums.data(),
                       .bias = bias.empty() ? nullptr : bias.data(),
                       .c = y.data(),
                       .ldc = s.n + 3});
  return y;
}

void CheckAll(Precision precision) {
  FOR_EACH_VECTOR_TABLE(kernels) {
    std::mt19937 random(21);
    for (const Shape& s : AwkwardShapes()) {
      const Floats x(s.m * (s.k + 1), 1, random);
      const Floats weight(s.n * s.k, 3, random);
      const Floats bias(s.n, 1, random);
      const std::span<const float> added(bias.data(), s.k % 2 == 0 ? s.n : 0);
      const std::vector<float> y = Multiply(*kernels, precision, s, x, weight, added);
      const std::vector<float> expected =
          precision == Precision::kInt8 ? MultiplyInt8(*kernels, s, x, weight, added)
                                        : Multiply(Reference(), precision, s, x, weight, added);
      INFO(IsaName(kernels->isa) << " " << PrecisionName(precision) << " " << s.m << " x " << s.n
                                 << " x " << s.k);
      double worst = 0;  // error over bound
      for (size_t i = 0; i < s.m; ++i) {
        double largest_x = 0;
        for (size_t l = 0; l < s.k; ++l) {
          largest_x = std::max(largest_x, std::abs(static_cast<double>(x[i * (s.k + 1) + l])));
        }
        for (size_t j = 0; j < s.n + 3; ++j) {
          const size_t at = i * (s.n + 3) + j;
          if (j >= s.n) {
            REQUIRE(y[at] == 12345.0f);
            continue;
          }
          // bf16: k sums in another order than the reference's single rounding, of products whose
          // factors both were rounded by up to 2^-8. int8: sums are exact, and only the scales'
          // product, the outliers, the bias and a value that lies between two steps can differ.
          double absolute = added.empty() ? 0.0 : std::abs(static_cast<double>(bias[j]));
          double largest_w = 0;
          for (size_t l = 0; l < s.k; ++l) {
            const double w = weight[j * s.k + l];
            absolute += std::abs(w * x[i * (s.k + 1) + l]) * 1.01;
            largest_w = std::max(largest_w, std::abs(w));
          }
          double bound = (static_cast<double>(s.k) + 2) * kUnit * absolute;
          if (precision == Precision::kBf16x3 && kernels->gemm_split != nullptr) {
            bound += 0x1p-15 * absolute;
          }
          if (precision == Precision::kInt8) {
            bound = 4 * kUnit * (absolute + 2 * largest_w * largest_x * static_cast<double>(s.k));
          }
          worst = std::max(worst, std::abs(static_cast<double>(y[at]) - expected[at]) / bound);
        }
      }
      CHECK(worst <= 1.0);
    }
  }
}

TEST_CASE("bf16x3 products agree with the reference") { CheckAll(Precision::kBf16x3); }
TEST_CASE("bf16 products agree with the reference") { CheckAll(Precision::kBf16); }
TEST_CASE("int8 products agree with the reference") { CheckAll(Precision::kInt8); }

TEST_CASE("Rounding to bf16 is to nearest even, in every table") {
  std::mt19937 random(22);
  for (const Isa isa : kAllIsas) {
    const Kernels* kernels = GetKernels(isa);
    if (kernels == nullptr) continue;
    for (const size_t n : kAwkwardLengths) {
      Floats x(n, 1, random);
      if (n > 2) x[1] = 1.0f + 0x1p-8f;  // half way between two: to the even one below
      std::vector<uint16_t> out(Bf16RowSize(*kernels, n), 7);
      kernels->round_bf16(x.data(), n, out.data());
      for (size_t i = 0; i < out.size(); ++i) {
        REQUIRE(out[i] == (i < n ? FloatToBFloat16(x[i]) : 0));
      }
    }
  }
}

TEST_CASE("Products in 8 bits are near those in f32") {
  const Kernels& kernels = Reference();
  std::mt19937 random(23);
  const Shape s{9, 40, 300};
  const Floats x(s.m * (s.k + 1), 0, random);
  const Floats weight(s.n * s.k, 0, random);
  const std::vector<float> exact = Multiply(kernels, Precision::kF32, s, x, weight, {});
  const std::vector<float> near = Multiply(kernels, Precision::kInt8, s, x, weight, {});
  // Steps of 1/127 of some 3 standard deviations on both sides, 300 independent errors.
  for (size_t i = 0; i < exact.size(); ++i) CHECK(std::abs(exact[i] - near[i]) < 1.5f);
}

TEST_CASE("A row of zeros stays zero in 8 bits") {
  for (const Isa isa : kAllIsas) {
    const Kernels* kernels = GetKernels(isa);
    if (kernels == nullptr) continue;
    std::mt19937 random(24);
    const Shape s{2, 5, 7};
    const Floats x(s.m * (s.k + 1), 0, 0.0f);
    const Floats weight(s.n * s.k, 0, random);
    const std::vector<float> y = Multiply(*kernels, Precision::kInt8, s, x, weight, {});
    for (size_t i = 0; i < s.m; ++i) {
      for (size_t j = 0; j < s.n; ++j) CHECK(y[i * (s.n + 3) + j] == 0.0f);
    }
  }
}

TEST_CASE("Rows too small for steps of their own are zeros in 8 bits") {
  for (const Isa isa : kAllIsas) {
    const Kernels* kernels = GetKernels(isa);
    if (kernels == nullptr) continue;
    INFO(IsaName(isa));
    std::mt19937 random(25);
    const Shape s{1, 5, 20};
    for (const float tiny : {1e-36f, 1e-38f, 1e-42f}) {
      const Floats ones(s.k + 1, 0, 1.0f);
      Floats x(s.k + 1, 0, tiny);
      for (size_t i = 0; i < s.k; i += 2) x[i] = -tiny;
      std::vector<uint8_t> bytes(Int8RowSize(*kernels, s.k));
      std::vector<float> rest(s.k);
      const Kernels::Int8Row row =
          kernels->quantize_int8(x.data(), s.k, 253, rest.data(), bytes.data());
      CHECK(row.scale == 0.0f);
      CHECK(std::abs(row.zero) <= 127);
      // But the outliers, which are not rounded.
      const Floats weight(s.n * s.k, 0, random);
      for (const float y : Multiply(*kernels, Precision::kInt8, s, x, weight, {})) {
        CHECK((std::abs(y) <= 100 * tiny || y == 12345.0f));
      }
      const Floats small(s.n * s.k, 0, tiny);
      for (const float y : Multiply(*kernels, Precision::kInt8, s, ones, small, {})) {
        CHECK((y == 0.0f || y == 12345.0f));
      }
    }
  }
}

// Weights that 8 bits hold exactly: whole numbers whose largest in every row is 127.
Floats WholeWeights(const Shape& s, std::mt19937& random) {
  Floats weight(s.n * s.k);
  std::uniform_int_distribution<int> any(-127, 127);
  for (size_t i = 0; i < weight.size(); ++i) weight[i] = static_cast<float>(any(random));
  for (size_t j = 0; j < s.n; ++j) weight[j * s.k + j % s.k] = 127;
  return weight;
}

TEST_CASE("A row's outliers leave the others of its elements their steps in 8 bits") {
  for (const Isa isa : kAllIsas) {
    const Kernels* kernels = GetKernels(isa);
    if (kernels == nullptr) continue;
    INFO(IsaName(isa));
    std::mt19937 random(30);
    const Shape s{5, 37, 203};
    const Floats weight = WholeWeights(s, random);
    Floats x(s.m * (s.k + 1), 0, random);
    for (size_t i = 0; i < s.m; ++i) {
      for (size_t o = 0; o < Kernels::kInt8Outliers; ++o) {
        x[i * (s.k + 1) + (o * 61 + i * 3) % s.k] = (o % 2 == 0 ? 1e4f : -3e3f) + 0.37f;
      }
    }
    const std::vector<float> y = Multiply(*kernels, Precision::kInt8, s, x, weight, {});
    for (size_t i = 0; i < s.m; ++i) {
      for (size_t j = 0; j < s.n; ++j) {
        double exact = 0;
        double magnitude = 0;
        for (size_t l = 0; l < s.k; ++l) {
          const double product = static_cast<double>(x[i * (s.k + 1) + l]) * weight[j * s.k + l];
          exact += product;
          magnitude += std::abs(product);
        }
        // Half a step of at most some 8 / 63 for each of the others, of either sign at random: five
        // deviations of their sum, and the sums in f32.
        const double deviation = 8.0 / 63 / std::sqrt(12.0) * 73 * std::sqrt(s.k);
        REQUIRE(std::abs(y[i * (s.n + 3) + j] - exact) <= 5 * deviation + 4 * kUnit * magnitude);
      }
    }
  }
}

TEST_CASE("Rows of no more elements than outliers are multiplied exactly in 8 bits") {
  for (const Isa isa : kAllIsas) {
    const Kernels* kernels = GetKernels(isa);
    if (kernels == nullptr) continue;
    std::mt19937 random(31);
    for (size_t k = 1; k <= Kernels::kInt8Outliers; ++k) {
      INFO(IsaName(isa) << " " << k);
      const Shape s{3, 19, k};
      const Floats weight = WholeWeights(s, random);
      const Floats x(s.m * (s.k + 1), 0, random);
      const std::vector<float> y = Multiply(*kernels, Precision::kInt8, s, x, weight, {});
      for (size_t i = 0; i < s.m; ++i) {
        for (size_t j = 0; j < s.n; ++j) {
          double exact = 0;
          for (size_t l = 0; l < k; ++l) {
            exact += static_cast<double>(x[i * (k + 1) + l]) * weight[j * k + l];
          }
          CHECK(y[i * (s.n + 3) + j] == Approx(exact).margin(1e-3));
        }
      }
    }
  }
}

TEST_CASE("The largest products of 8 bits do not overflow") {
  for (const Isa isa : kAllIsas) {
    const Kernels* kernels = GetKernels(isa);
    if (kernels == nullptr) continue;
    // Four weights of 107 leave AVX2 75 steps, which rounding makes 76, four of 108 leave 74; four
    // of 127 leave 63, too few to add two groups' products.
    for (const float magnitude : {105.0f, 107.0f, 108.0f, 127.0f}) {
      for (const size_t k : {304, 308}) {  // groups in pairs, and one left
        INFO(IsaName(isa) << " " << magnitude << " " << k);
        const Shape s{4, 5, k};
        const size_t end = k - 4;  // of what is rounded: the last four are outliers
        // Columns of one sign and of both, in turn by element, by group and by two groups.
        Floats weight(s.n * k);
        for (size_t j = 0; j < s.n; ++j) {
          for (size_t l = 0; l < end; ++l) {
            const bool negative = j == 1 || (j == 2 && l % 2 != 0) || (j == 3 && l / 4 % 2 != 0) ||
                                  (j == 4 && l / 8 % 2 != 0);
            weight[j * k + l] = negative ? -magnitude : magnitude;
          }
          weight[j * k + k - 1] = 127.0f;
        }
        // The last step everywhere, the first, both in turn, and both by two groups.
        Floats x(s.m * (k + 1));
        for (size_t i = 0; i < s.m; ++i) {
          for (size_t l = 0; l < k; ++l) {
            const bool negative = i == 1 || (i == 2 && l % 2 != 0) || (i == 3 && l / 8 % 2 != 0);
            x[i * (k + 1) + l] = (l < end ? 1.0f : 2.0f) * (negative ? -1.0f : 1.0f);
          }
        }
        // The range begins at 0 where all are of one sign: rows 0 and 1 take every step, 2 and 3
        // one more.
        std::vector<int8_t> values(k);
        std::vector<int8_t> packed(PackedGemmInt8Size(*kernels, s.n, k));
        std::vector<int32_t> sums(s.n);
        const auto rounded = [&](size_t j) {
          QuantizeWeights(weight.data() + j * k, k, values.data());
          return values.data();
        };
        const Int8Inputs inputs =
            PackGemmInt8(*kernels, rounded, s.n, k, packed.data(), sums.data());
        if (isa == Isa::kAvx2) {
          CHECK(inputs.two_groups == (magnitude < 127.0f));
          CHECK(inputs.steps == (magnitude == 105.0f   ? 77
                                 : magnitude == 107.0f ? 75
                                 : magnitude == 108.0f ? 74
                                                       : 128));
        } else {
          CHECK(inputs.steps == 253);
        }
        const std::vector<float> y = Multiply(*kernels, Precision::kInt8, s, x, weight, {});
        const std::vector<float> expected = MultiplyInt8(*kernels, s, x, weight, {});
        for (size_t i = 0; i < y.size(); ++i) {
          CHECK(std::abs(y[i] - expected[i]) <= 16 * kUnit * 127 * static_cast<double>(2 * k));
        }
      }
    }
  }
}

TEST_CASE("Equal magnitudes: the first of a row are its outliers, in every table") {
  for (const Isa isa : kAllIsas) {
    const Kernels* kernels = GetKernels(isa);
    if (kernels == nullptr) continue;
    INFO(IsaName(isa));
    const size_t n = 150;
    std::vector<float> x(n, -2.0f);
    x[130] = 5.0f;
    std::vector<float> rest(n);
    std::vector<uint8_t> bytes(Int8RowSize(*kernels, n));
    const Kernels::Int8Row row =
        kernels->quantize_int8(x.data(), n, 200, rest.data(), bytes.data());
    const uint32_t expected[Kernels::kInt8Outliers] = {130, 0, 1, 2};
    for (size_t o = 0; o < Kernels::kInt8Outliers; ++o) {
      CHECK(row.outliers[o].index == expected[o]);
      CHECK(row.outliers[o].value == x[expected[o]]);
    }
  }
}

TEST_CASE("int8 products on tiles are those of AVX-512, bit for bit") {
  const Kernels* const tiles = GetKernels(Isa::kAmx);
  if (tiles == nullptr) RAG_SKIP("this processor has no AMX");
  std::mt19937 random(26);
  for (const Shape& s : AwkwardShapes()) {
    const Floats x(s.m * (s.k + 1), 1, random);
    const Floats weight(s.n * s.k, 3, random);
    INFO(s.m << " x " << s.n << " x " << s.k);
    CHECK(Multiply(*tiles, Precision::kInt8, s, x, weight, {}) ==
          Multiply(*GetKernels(Isa::kAvx512), Precision::kInt8, s, x, weight, {}));
  }
}

TEST_CASE("A product's activation is that of its results, in every table and precision") {
  std::mt19937 random(28);
  const Shape s{37, 45, 100};
  const Floats x(s.m * (s.k + 1), 0, random);
  const Floats weight(s.n * s.k, 0, random, 0.3f);
  const Floats bias(s.n, 0, random);
  for (const Isa isa : kAllIsas) {
    const Kernels* const kernels = GetKernels(isa);
    if (kernels == nullptr) continue;
    for (const Precision precision : kAllPrecisions) {
      for (const Activation activation :
           {Activation::kNone, Activation::kGelu, Activation::kGeluTanh, Activation::kSilu}) {
        INFO(IsaName(isa) << " " << PrecisionName(precision) << " "
                          << static_cast<int>(activation));
        const std::span<const float> added(bias.data(), s.n);
        std::vector<float> expected = Multiply(*kernels, precision, s, x, weight, added);
        const std::vector<float> y = Multiply(*kernels, precision, s, x, weight, added, activation);
        for (size_t i = 0; i < s.m; ++i) {
          Activate(*kernels, activation, &expected[i * (s.n + 3)], s.n);
        }
        CHECK(y == expected);
      }
    }
  }
}

TEST_CASE("A row of a product depends on its own inputs alone, bit for bit") {
  std::mt19937 random(27);
  const Shape all{70, 45, 200};
  const Floats x(all.m * (all.k + 1), 0, random);
  const Floats weight(all.n * all.k, 0, random);
  for (const Isa isa : kAllIsas) {
    const Kernels* const kernels = GetKernels(isa);
    if (kernels == nullptr) continue;
    for (const Precision precision : kAllPrecisions) {
      INFO(IsaName(isa) << " " << PrecisionName(precision));
      const std::vector<float> together = Multiply(*kernels, precision, all, x, weight, {});
      for (size_t m = 1; m <= all.m; ++m) {
        const std::vector<float> few =
            Multiply(*kernels, precision, {m, all.n, all.k}, x, weight, {});
        REQUIRE(std::equal(few.begin(), few.end(), together.begin()));
      }
    }
  }
}

TEST_CASE("Precisions are named") {
  for (const Precision precision : kAllPrecisions) {
    const Result<Precision> parsed = ParsePrecision(PrecisionName(precision));
    REQUIRE_OK(parsed);
    CHECK(*parsed == precision);
  }
  CHECK(ParsePrecision("int4").status().message().find("int4") != std::string::npos);
}

}  // namespace
}  // namespace rag::test
