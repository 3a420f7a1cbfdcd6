// RaBitQ's codes against FAISS's, and its published properties on real vectors.
#include <catch2/catch.hpp>
#include <cmath>

#include "index/vector/fast_rotation.h"
#include "index/vector/node_codec.h"
#include "index/vector/rabitq_codec.h"
#include "lib/base/value.h"
#include "tests/index/vectors.h"

namespace rag::test {
namespace {

std::vector<float> Floats(const Value& from, std::string_view key) {
  const Value* const list = from.Find(key);
  REQUIRE(list != nullptr);
  std::vector<float> out;
  for (const Value& value : list->as_array()) out.push_back(static_cast<float>(value.as_double()));
  return out;
}

double Dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * b[i];
  return sum;
}

// The real vectors that these properties are seen on.
std::optional<std::pair<Matrix, Matrix>> Sift() {
  const auto folder = SharedData("ann-sift10k");
  if (!folder) return std::nullopt;
  return std::pair(ToMatrix(ReadTexmex<uint8_t>(*folder / "base.bvecs")),
                   ToMatrix(ReadTexmex<uint8_t>(*folder / "query.bvecs")));
}

}  // namespace

TEST_CASE("rabitq: estimates are FAISS's, and 4 bits point as well as any can") {
  const auto golden = ParseJson(ReadAll(Golden("codes/rabitq.json")));
  REQUIRE_OK(golden);
  const auto dim = static_cast<size_t>(golden->Find("dim")->as_int());
  const std::vector<float> rows = Floats(*golden, "rows"), queries = Floats(*golden, "queries");
  const size_t n = rows.size() / dim;
  std::vector<float> mean(dim, 0.0f);
  for (size_t i = 0; i < rows.size(); ++i) mean[i % dim] += rows[i] / static_cast<float>(n);
  const std::vector<float> l2 = Floats(*golden->Find("distances"), "l2");
  const std::vector<float> ip = Floats(*golden->Find("distances"), "ip");
  const std::vector<float> cosines = Floats(*golden, "best_cosines");
  std::vector<uint8_t> codes(dim);
  for (size_t i = 0; i < n; ++i) {
    const std::span<const float> row(rows.data() + i * dim, dim);
    std::vector<float> y(dim), odd(dim), moved(dim);
    for (size_t d = 0; d < dim; ++d) y[d] = row[d] - mean[d];
    const float factor = RabitqRound(y.data(), dim, 1, codes.data());
    for (size_t d = 0; d < dim; ++d) odd[d] = codes[d] == 1 ? factor : -factor;
    for (size_t q = 0; q < queries.size() / dim; ++q) {
      for (size_t d = 0; d < dim; ++d) moved[d] = queries[q * dim + d] - mean[d];
      const double product = Dot(moved, odd);
      REQUIRE(Dot(moved, moved) + Dot(y, y) - 2 * product == Approx(l2[q * n + i]).epsilon(1e-4));
      REQUIRE(Dot({queries.data() + q * dim, dim}, mean) + Dot(mean, y) + product ==
              Approx(ip[q * n + i]).margin(2e-3));
    }
    RabitqRound(row.data(), dim, 4, codes.data());
    for (size_t d = 0; d < dim; ++d) odd[d] = 2.0f * codes[d] - 15;
    const double cosine = Dot(row, odd) / std::sqrt(Dot(row, row) * Dot(odd, odd));
    REQUIRE(cosine <= cosines[i] + 1e-5);
    REQUIRE(1 - cosine <= 1.1 * (1 - double{cosines[i]}));
  }
}

TEST_CASE("a fast rotation keeps lengths and angles, and spreads what stands in one place") {
  const auto runtime = MakeRuntime();
  for (const size_t dim : {1, 2, 3, 17, 64, 100, 384, 784}) {
    const FastRotation rotation(dim, *runtime), other(dim, *MakeRuntime("scalar"));
    const Matrix rows = Clustered(20, dim, 5);
    Matrix turned = rows;
    for (size_t i = 0; i < 20; ++i) rotation.Apply(turned.row(i).data());
    for (size_t i = 1; i < 20; ++i) {
      const double size = std::sqrt(Dot(rows.row(0), rows.row(0)) * Dot(rows.row(i), rows.row(i)));
      REQUIRE(Dot(turned.row(0), turned.row(i)) ==
              Approx(Dot(rows.row(0), rows.row(i))).margin(1e-5 * size));
    }
    std::vector<float> unit(dim, 0.0f), same(dim, 0.0f);
    unit[dim / 3] = same[dim / 3] = 1;
    rotation.Apply(unit.data());
    other.Apply(same.data());
    for (size_t d = 0; d < dim; ++d) REQUIRE(unit[d] == Approx(same[d]).margin(1e-6));
    if (dim < 64) continue;
    // Of a random direction's elements hardly one is over five standard deviations.
    for (const float x : unit) REQUIRE(std::fabs(x) * std::sqrt(static_cast<float>(dim)) < 5);
  }
}

// Theorem 3.2 of Gao and Long: without bias, and off by more than
// sqrt((1 - <o', o>^2) / <o', o>^2) epsilon / sqrt(D - 1) with a probability that falls with
// exp(-c epsilon^2); they take epsilon = 1.9. Of a normal distribution 5.7% lie beyond it, and what
// rounding the query to 4 bits adds.
TEST_CASE("rabitq: estimates have no bias and keep to the bound on real vectors") {
  const auto sift = Sift();
  if (!sift) RAG_SKIP("ann-sift10k is not there");
  const auto runtime = MakeRuntime();
  const auto& [base, queries] = *sift;
  const size_t dim = base.cols(), n = 1'000;
  const auto codec = NodeCodec::Train(base.view(), CodeKind::kRabitq, 0, Metric::kL2, *runtime);
  std::vector<double> mean(dim, 0.0);
  for (size_t i = 0; i < base.rows(); ++i) {
    for (size_t d = 0; d < dim; ++d) mean[d] += base.row(i)[d] / static_cast<double>(base.rows());
  }
  Matrix codes(n, codec->code_bytes() / sizeof(float));
  std::vector<const std::byte*> pointers(n);
  std::vector<double> wide(n), length(n);
  FastRotation rotation(dim, *runtime);
  for (size_t i = 0; i < n; ++i) {
    auto* const code = reinterpret_cast<std::byte*>(codes.row(i).data());
    codec->Encode(base.row(i).data(), code);
    pointers[i] = code;
    std::vector<float> y(dim);
    for (size_t d = 0; d < dim; ++d) y[d] = base.row(i)[d] - static_cast<float>(mean[d]);
    rotation.Apply(y.data());
    double ones = 0;
    for (const float x : y) ones += std::fabs(x);
    length[i] = std::sqrt(Dot(y, y));
    const double cosine = ones / (std::sqrt(static_cast<double>(dim)) * length[i]);
    wide[i] = std::sqrt((1 - cosine * cosine) / (cosine * cosine) / (static_cast<double>(dim) - 1));
  }
  double bias = 0, xx = 0, xy = 0;
  size_t beyond = 0, far_beyond = 0, all = 0;
  CodeQuery query;
  std::vector<float> estimates(n);
  for (size_t q = 0; q < 100; ++q) {
    double query_length = 0;
    for (size_t d = 0; d < dim; ++d) {
      query_length += (queries.row(q)[d] - mean[d]) * (queries.row(q)[d] - mean[d]);
    }
    query_length = std::sqrt(query_length);
    codec->PrepareQuery(queries.row(q).data(), query);
    codec->Distances(query, pointers.data(), n, estimates.data());
    for (size_t i = 0; i < n; ++i) {
      double distance = 0;
      for (size_t d = 0; d < dim; ++d) {
        const double off = queries.row(q)[d] - base.row(i)[d];
        distance += off * off;
      }
      // Of the inner product of unit vectors.
      const double error = (estimates[i] - distance) / (2 * query_length * length[i]);
      bias += error;
      beyond += std::fabs(error) > 1.9 * wide[i] ? 1 : 0;
      far_beyond += std::fabs(error) > 4 * wide[i] ? 1 : 0;
      xx += distance * distance;
      xy += distance * estimates[i];
      ++all;
    }
  }
  const double count = static_cast<double>(all);
  WARN("bias " << bias / count << ", beyond 1.9: " << static_cast<double>(beyond) / count
               << ", beyond 4: " << static_cast<double>(far_beyond) / count << ", slope "
               << xy / xx);
  // The error of one estimate is about 0.07; one rotation for all leaves its own mark.
  REQUIRE(std::fabs(bias / count) < 0.005);
  REQUIRE(xy / xx == Approx(1).margin(0.01));
  REQUIRE(static_cast<double>(beyond) / count < 0.08);
  REQUIRE(static_cast<double>(far_beyond) / count < 0.001);
}

// The error of codes of 1 bit falls with the dimension's root, that of 4 bits lies far below.
TEST_CASE("rabitq: the candidates that codes keep follow from their error") {
  const auto sift = Sift();
  if (!sift) RAG_SKIP("ann-sift10k is not there");
  const auto runtime = MakeRuntime();
  const MatrixView base = sift->first.view();
  const auto ratio = [&](CodeKind kind) {
    return NodeCodec::Train(base, kind, 0, Metric::kL2, *runtime)->keep_ratio();
  };
  const float one = ratio(CodeKind::kRabitq), four = ratio(CodeKind::kSq4),
              eight = ratio(CodeKind::kSq8);
  WARN("keep ratios: rabitq " << one << ", sq4 " << four << ", sq8 " << eight);
  REQUIRE(one > four);
  REQUIRE(four >= eight);
  REQUIRE(eight <= 1.5f);
}

}  // namespace rag::test
