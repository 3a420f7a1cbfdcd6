// softmax, norms and activations.
#include <limits>

#include "tests/lib/kernels_support.h"

namespace rag::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// The smallest normal number: what a vector kernel may flush to zero.
constexpr double kTiny = 0x1p-126;

// Runs `body` on a copy of `x` with a guard after it, and returns the copy.
template <class Body>
std::vector<float> InPlace(const Floats& x, Body body) {
  std::vector<float> out(x.data(), x.data() + x.size());
  out.push_back(77.0f);
  body(out.data());
  CHECK(out.back() == 77.0f);
  out.pop_back();
  return out;
}

TEST_CASE("Softmax agrees with the reference") {
  FOR_EACH_VECTOR_TABLE(kernels) {
    std::mt19937 random(7);
    for (const size_t n : kAwkwardLengths) {
      for (const float scale : {0.1f, 5.0f, 60.0f}) {
        Floats x(n, 1, random, scale);
        if (n > 4) x[n / 2] = -kInfinity;
        const auto out = InPlace(x, [&](float* row) { kernels->softmax(row, n); });
        const auto expected = InPlace(x, [&](float* row) { Reference().softmax(row, n); });
        INFO(IsaName(kernels->isa) << " n " << n << " scale " << scale);
        double sum = 0;
        for (size_t i = 0; i < n; ++i) {
          // Two exponentials of 2 ulp each (of 2 units), n additions, a product and a quotient.
          const double bound = expected[i] * (static_cast<double>(n) + 16) * kUnit + kTiny;
          REQUIRE(std::abs(static_cast<double>(out[i]) - expected[i]) <= bound);
          sum += out[i];
        }
        if (n > 4) CHECK(out[n / 2] == 0.0f);
        if (n > 0) CHECK(sum == Approx(1.0).epsilon(1e-5));
      }
    }
  }
}

TEST_CASE("Softmax of -inf alone gives zeros, and NaN stays visible") {
  FOR_EACH_VECTOR_TABLE(kernels) {
    for (const size_t n : {1, 8, 21}) {
      Floats x(n, 0, -kInfinity);
      kernels->softmax(x.data(), n);
      for (size_t i = 0; i < n; ++i) CHECK(x[i] == 0.0f);
    }
    Floats x(16, 0, std::numeric_limits<float>::quiet_NaN());
    kernels->gelu(x.data(), x.size());
    CHECK(std::isnan(x[3]));
    kernels->silu(x.data(), x.size());
    CHECK(std::isnan(x[3]));
  }
}

TEST_CASE("Norms agree with the reference") {
  FOR_EACH_VECTOR_TABLE(kernels) {
    std::mt19937 random(8);
    for (const size_t n : kAwkwardLengths) {
      const Floats gamma(n, 1, random);
      const Floats beta(n, 2, random);
      for (const float epsilon : {1e-12f, 1e-5f}) {
        for (const float shift : {0.0f, 3.0f}) {
          Floats x(n, 3, random);
          double largest = 0, sum = 0, squares = 0;
          for (size_t i = 0; i < n; ++i) {
            x[i] += shift;
            largest = std::max(largest, std::abs(static_cast<double>(x[i])));
            sum += x[i];
            squares += static_cast<double>(x[i]) * x[i];
          }
          if (n == 1) continue;  // its variance is 0 and every rounding error is magnified
          const double count = std::max(1.0, static_cast<double>(n));
          const double mean = sum / count;
          const double variance = std::max(0.0, squares / count - mean * mean);
          INFO(IsaName(kernels->isa) << " n " << n << " shift " << shift);

          const auto layer = [&](const Kernels& table) {
            return InPlace(x, [&](float* row) {
              table.layer_norm(row, gamma.data(), beta.data(), epsilon, row, n);
            });
          };
          const auto out = layer(*kernels);
          const auto expected = layer(Reference());
          // The mean is off by at most n + 2 units of the largest element and shifts every element;
          // the variance's relative error is n + 4 units and that shift's share of it, and its
          // root's half as much.
          const double scale = 1.0 / std::sqrt(variance + epsilon);
          const double mean_error = (count + 2) * kUnit * largest;
          const double relative = ((count + 4) / 2 + 6) * kUnit + 2 * mean_error * scale;
          for (size_t i = 0; i < n; ++i) {
            const double standard = std::abs(x[i] - mean) * scale;
            const double bound = std::abs(gamma[i]) * (mean_error * scale + standard * relative) +
                                 2 * kUnit * (std::abs(beta[i]) + std::abs(expected[i]));
            REQUIRE(std::abs(static_cast<double>(out[i]) - expected[i]) <= bound);
          }

          const auto rms = [&](const Kernels& table) {
            return InPlace(x,
                           [&](float* row) { table.rms_norm(row, gamma.data(), epsilon, row, n); });
          };
          const auto rms_out = rms(*kernels);
          const auto rms_expected = rms(Reference());
          for (size_t i = 0; i < n; ++i) {
            const double bound = std::abs(rms_expected[i]) * ((count + 4) / 2 + 6) * kUnit;
            REQUIRE(std::abs(static_cast<double>(rms_out[i]) - rms_expected[i]) <= bound);
          }
        }
      }
    }
  }
}

// Every 2^-9 of [-20, 20], and extremes.
Floats ActivationInputs() {
  std::vector<float> values;
  for (int i = -20 * 512; i <= 20 * 512; ++i) values.push_back(static_cast<float>(i) / 512.0f);
  for (const float value : {1e-30f, -1e-30f, 90.0f, -90.0f, 1e4f, -1e4f, 1e30f, -1e30f}) {
    values.push_back(value);
  }
  Floats inputs(values.size(), 1);
  std::copy(values.begin(), values.end(), inputs.data());
  return inputs;
}

TEST_CASE("Activations agree with the reference") {
  const Floats x = ActivationInputs();
  FOR_EACH_VECTOR_TABLE(kernels) {
    INFO(IsaName(kernels->isa));
    const auto compare = [&](auto function, auto bound) {
      const auto out = InPlace(x, [&](float* p) { (kernels->*function)(p, x.size()); });
      const auto expected = InPlace(x, [&](float* p) { (Reference().*function)(p, x.size()); });
      for (size_t i = 0; i < x.size(); ++i) {
        INFO("x " << x[i] << " gives " << out[i] << ", expected " << expected[i]);
        REQUIRE(std::abs(static_cast<double>(out[i]) - expected[i]) <=
                bound(static_cast<double>(x[i]), std::abs(static_cast<double>(expected[i]))));
      }
    };
    // Erf's absolute error is 3e-7; half of it counts, times x, and some roundings of x.
    compare(&Kernels::gelu,
            [](double value, double) { return std::abs(value) * (0.5 * 3e-7 + 4 * kUnit); });
    // x / (1 + exp(-t)): exp's relative error is that of its argument (some units of t), and 2 ulp.
    const auto logistic = [](double t, double result) {
      return result * (16 + 6 * std::abs(t)) * kUnit + std::abs(t) * 1e-37;
    };
    compare(&Kernels::silu, logistic);
    compare(&Kernels::gelu_tanh, [&](double value, double result) {
      const double t = 1.5957691216 * (value + 0.044715 * value * value * value);
      // The reference's 1 + tanh keeps 2^-53 of 1.
      return logistic(std::abs(t) > 80 ? 80.0 : t, result) + std::abs(value) * 0x1p-53;
    });
  }
}

TEST_CASE("add, mul and axpy agree with the reference") {
  FOR_EACH_VECTOR_TABLE(kernels) {
    std::mt19937 random(9);
    for (const size_t n : kAwkwardLengths) {
      const Floats x(n, 1, random);
      const Floats y(n, 2, random);
      const auto sum = InPlace(x, [&](float* p) { kernels->add(p, y.data(), n); });
      const auto product = InPlace(x, [&](float* p) { kernels->mul(p, y.data(), n); });
      const auto combined = InPlace(x, [&](float* p) { kernels->axpy(0.3f, y.data(), p, n); });
      for (size_t i = 0; i < n; ++i) {
        REQUIRE(sum[i] == x[i] + y[i]);
        REQUIRE(product[i] == x[i] * y[i]);
        const double exact = x[i] + static_cast<double>(0.3f) * y[i];
        REQUIRE(std::abs(combined[i] - exact) <=
                2 * kUnit * (std::abs(x[i]) + 0.3 * std::abs(y[i])));
      }
    }
  }
}

}  // namespace
}  // namespace rag::test
