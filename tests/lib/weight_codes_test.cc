// Sums of products with weights of 16 bits: every table against the scalar one, bit for bit.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "lib/kernels/weight_codes.h"

using namespace rag;

TEST_CASE("every table adds up a run's weights with the scalar table's bits") {
  const WeightCodeKernels& scalar = *GetWeightCodeKernels(Isa::kScalar);
  std::mt19937 random(17);
  std::uniform_real_distribution<float> uniform(0.0f, 4.0f);
  for (const Isa isa : kAllIsas) {
    const WeightCodeKernels* const kernels = GetWeightCodeKernels(isa);
    if (kernels == nullptr) continue;
    INFO(IsaName(isa));
    for (int trial = 0; trial < 200; ++trial) {
      // Behind an odd element: nothing is aligned.
      std::array<uint16_t, 3 * kWeightRun + 1> codes{};
      for (uint16_t& code : codes) {
        code = random() % 3 == 0 ? 0 : static_cast<uint16_t>(1 + random() % kLargestWeightCode);
      }
      constexpr size_t kSums = 64 * kWeightRun;
      std::vector<float> wanted(kSums + 1), sums(kSums + 1);
      for (size_t i = 0; i < wanted.size(); ++i) wanted[i] = sums[i] = uniform(random);
      const float factor = trial % 10 == 0 ? std::numeric_limits<float>::max() : uniform(random);
      const size_t first = random() % 30, second = 30 + random() % 30, third = 60 + random() % 4;
      const uint64_t held = uint64_t{1} << first | uint64_t{1} << second | uint64_t{1} << third;
      const uint64_t asked = ~(uint64_t{1} << (trial % 2 == 0 ? first : second));
      const std::vector<float> before = sums;
      scalar.add_runs(codes.data() + 1, held, asked, factor, wanted.data() + 1);
      kernels->add_runs(codes.data() + 1, held, asked, factor, sums.data() + 1);
      REQUIRE(std::memcmp(sums.data(), wanted.data(), sums.size() * sizeof(float)) == 0);
      for (size_t run = 0; run < 64; ++run) {
        const auto at = static_cast<ptrdiff_t>(1 + run * kWeightRun);
        const bool same =
            std::equal(sums.begin() + at, sums.begin() + at + kWeightRun, before.begin() + at);
        REQUIRE(same == ((held & asked & uint64_t{1} << run) == 0));
      }
      const float bound = sums[1 + random() % kWeightRun];
      REQUIRE(kernels->reaching(sums.data() + 1, bound) == scalar.reaching(sums.data() + 1, bound));
      REQUIRE(scalar.reaching(sums.data() + 1, bound) != 0);
    }
  }
}

TEST_CASE("the sums of a run's weights are those of their products") {
  const WeightCodeKernels& scalar = *GetWeightCodeKernels(Isa::kScalar);
  std::array<uint16_t, kWeightRun> codes{};
  codes[0] = EncodeWeight(1.5f);
  codes[63] = EncodeWeight(0.25f);
  std::array<float, kWeightRun> sums{};
  sums[63] = 1;
  scalar.add_runs(codes.data(), 1, 1, 2, sums.data());
  CHECK(sums[0] == 3);
  CHECK(sums[1] == 0);
  CHECK(sums[63] == 1.5f);
  CHECK(scalar.reaching(sums.data(), 1.5f) == (1 | uint64_t{1} << 63));
}
