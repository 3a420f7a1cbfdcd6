#include "lib/gpu/gpu.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <vector>

#include "lib/kernels/kernels.h"
#include "tests/support/support.h"

using namespace rag;

TEST_CASE("without a GPU the reason is told") {
  const Result<std::unique_ptr<Gpu>> gpu = Gpu::Open();
  if (gpu.ok()) {
    CHECK_FALSE((*gpu)->info().name.empty());
    return;
  }
  CHECK(gpu.status().code() == StatusCode::kUnavailable);
  CHECK_FALSE(gpu.status().message().empty());
  RuntimeOptions options;
  options.device = "cuda";
  CHECK(Runtime::Create(options).status().code() == StatusCode::kUnavailable);
}

TEST_CASE("the GPU's candidates are those of the scalar kernels") {
  const Result<std::unique_ptr<Gpu>> gpu = Gpu::Open();
  if (!gpu.ok()) RAG_SKIP(gpu.status().message());
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (const size_t dim : {1u, 15u, 16u, 100u, 384u}) {
    for (const size_t count : {1u, 63u, 1000u}) {
      Matrix rows(count, dim);
      Matrix queries(70, dim);
      for (size_t i = 0; i < count * dim; ++i) rows.data()[i] = normal(random);
      for (size_t i = 0; i < 70 * dim; ++i) queries.data()[i] = normal(random);
      const auto uploaded = (*gpu)->Upload(rows.view());
      REQUIRE_OK(uploaded);
      for (const bool l2 : {false, true}) {
        const auto found = (*uploaded)->TopK(queries.view(), 10, l2);
        REQUIRE_OK(found);
        const Kernels& scalar = *GetKernels(Isa::kScalar);
        for (size_t q = 0; q < 70; ++q) {
          std::vector<float> expected(count);
          for (size_t i = 0; i < count; ++i) {
            expected[i] = l2 ? -scalar.l2_squared(queries.row(q).data(), rows.row(i).data(), dim)
                             : scalar.dot(queries.row(q).data(), rows.row(i).data(), dim);
          }
          // |x||y| n eps bounds the error of an f32 sum of n products; three such terms under L2.
          const float norm =
              std::sqrt(scalar.dot(queries.row(q).data(), queries.row(q).data(), dim));
          float largest = 0;
          for (size_t i = 0; i < count; ++i) {
            largest = std::max(largest, scalar.dot(rows.row(i).data(), rows.row(i).data(), dim));
          }
          const float bound = 4 * (norm + std::sqrt(largest)) * (norm + std::sqrt(largest)) *
                              static_cast<float>(dim) * 0x1p-24f;
          std::vector<float> sorted = expected;
          std::sort(sorted.rbegin(), sorted.rend());
          REQUIRE((*found)[q].size() == std::min<size_t>(10, count));
          for (size_t i = 0; i < (*found)[q].size(); ++i) {
            const GpuCandidate& candidate = (*found)[q][i];
            REQUIRE(candidate.row < count);
            CHECK(std::fabs(candidate.score - expected[candidate.row]) <= bound);
            CHECK(std::fabs(candidate.score - sorted[i]) <= bound);
          }
        }
      }
    }
  }
}
