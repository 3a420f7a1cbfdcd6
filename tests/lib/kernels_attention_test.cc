// attention: blocked with an online softmax, against the reference that keeps whole rows of scores.
#include <algorithm>

#include "tests/lib/kernels_support.h"

namespace rag::test {
namespace {

struct Case {
  size_t q_count, kv_count, head_dim;
  bool causal = false;
  size_t causal_offset = 0;
  float score_scale = 1.0f;
  bool bias = false;
  size_t window = SIZE_MAX;
  bool rounded = false;
  float sign = 1.0f;  // of the scale
};

void CheckAttention(const Kernels& kernels, const Case& c, std::mt19937& random) {
  const size_t q_stride = c.head_dim + 3, k_stride = c.head_dim + 1, v_stride = c.head_dim + 2;
  const size_t out_stride = c.head_dim + 5;
  const auto span = [&](size_t rows, size_t stride) {
    return rows == 0 ? 0 : (rows - 1) * stride + c.head_dim;
  };
  const Floats q(span(c.q_count, q_stride), 1, random, c.score_scale);
  const Floats k(span(c.kv_count, k_stride), 2, random);
  const Floats v(span(c.kv_count, v_stride), 3, random);
  // By distance, from the last query and the first key to the first query and the last key.
  const Floats bias(c.q_count + c.kv_count, 1, random, 2.0f);
  constexpr float kUntouched = 12345.0f;
  const float scale = c.sign / std::sqrt(static_cast<float>(c.head_dim));

  const auto run = [&](const Kernels& table) {
    Floats out(span(c.q_count, out_stride), 1, kUntouched);
    std::vector<float> scratch(AttentionScratch(c.kv_count, c.head_dim));
    table.attention({q.data(), q_stride, c.q_count, k.data(), k_stride, v.data(), v_stride,
                     c.kv_count, c.head_dim, scale, c.causal, c.causal_offset, out.data(),
                     out_stride, scratch.data(), c.bias ? bias.data() + c.q_count : nullptr,
                     c.window, c.rounded});
    return out;
  };
  const Floats out = run(kernels);
  const Floats expected = run(Reference());
  INFO(IsaName(kernels.isa) << " q " << c.q_count << " kv " << c.kv_count << " dim " << c.head_dim
                            << " causal " << c.causal << " offset " << c.causal_offset << " bias "
                            << c.bias << " window " << c.window);
  // What products on tiles add, relative to their magnitude: that of gemm_split.
  const double rounding = c.rounded && kernels.gemm_split != nullptr ? 0x1p-15 : 0;
  double worst = 0;  // error over bound
  size_t overwritten = 0;
  for (size_t i = 0; i < c.q_count; ++i) {
    const size_t visible = c.causal ? std::min(c.kv_count, c.causal_offset + i + 1) : c.kv_count;
    // A score's error: head_dim products and the scale. A weight's relative error: that of two
    // scores and of their roundings when the largest is taken off, two exponentials, the sum, and
    // two roundings for each block's rescaling.
    double score_error = 0, largest_value = 0;
    for (size_t j = 0; j < visible; ++j) {
      double absolute = 0, score = 0;
      const double added =
          c.bias ? std::abs(static_cast<double>(bias[c.q_count + j - i])) * kUnit * 2 : 0.0;
      for (size_t d = 0; d < c.head_dim; ++d) {
        const double product = static_cast<double>(q[i * q_stride + d]) * k[j * k_stride + d];
        absolute += std::abs(product);
        score += product;
        largest_value = std::max(largest_value, std::abs(static_cast<double>(v[j * v_stride + d])));
      }
      score_error = std::max(
          score_error,
          added + std::abs(scale) * (kUnit * ((static_cast<double>(c.head_dim) + 3) * absolute +
                                              2 * std::abs(score)) +
                                     rounding * absolute));
    }
    const double relative =
        2 * score_error + (2.0 * static_cast<double>(visible) + 40) * kUnit + rounding;
    for (size_t d = 0; d < out_stride && i * out_stride + d < out.size(); ++d) {
      const size_t at = i * out_stride + d;
      if (d >= c.head_dim) {
        overwritten += out[at] != kUntouched;
        continue;
      }
      const double error = std::abs(static_cast<double>(out[at]) - expected[at]);
      const double bound = relative * largest_value;
      worst = std::max(worst, bound > 0 ? error / bound : (error > 0 ? 2.0 : 0.0));
    }
  }
  CHECK(worst <= 1.0);
  CHECK(overwritten == 0);
}

TEST_CASE("Attention agrees with the reference at awkward shapes") {
  FOR_EACH_VECTOR_TABLE(kernels) {
    std::mt19937 random(10);
    for (const size_t q_count : {1, 2, 3, 4, 5, 7, 13, 24, 100}) {
      for (const size_t kv_count : {1, 2, 15, 33, 127, 128, 129, 300}) {
        for (const size_t head_dim : {1, 8, 20, 32, 64}) {
          CheckAttention(*kernels, {q_count, kv_count, head_dim}, random);
        }
      }
    }
    CheckAttention(*kernels, {3, 0, 16}, random);
    CheckAttention(*kernels, {0, 3, 16}, random);
    CheckAttention(*kernels, {200, 513, 80}, random);
  }
}

TEST_CASE("Attention agrees with the reference at scales of 0 and below") {
  FOR_EACH_VECTOR_TABLE(kernels) {
    std::mt19937 random(17);
    for (const float sign : {0.0f, -1.0f}) {
      for (const bool bias : {false, true}) {
        CheckAttention(*kernels,
                       {.q_count = 20, .kv_count = 200, .head_dim = 32, .bias = bias, .sign = sign},
                       random);
      }
    }
  }
}

TEST_CASE("The largest score's weight is 1 however large it is") {
  FOR_EACH_VECTOR_TABLE(kernels) {
    if (kernels->isa == Isa::kAmx) continue;  // whose scores are sums of rounded products
    for (const float large : {3e10f, -3e10f, 1e12f}) {
      const size_t queries = 5, keys = 40, dim = 8;
      const Floats q(queries * dim, 0, large);
      Floats k(keys * dim, 0, 0.5f);
      for (size_t d = 0; d < dim; ++d) k[7 * dim + d] = large > 0 ? 1.3f : -1.3f;
      Floats v(keys * dim);
      for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i / dim);
      Floats out(queries * dim);
      std::vector<float> scratch(AttentionScratch(keys, dim));
      kernels->attention({q.data(), dim, queries, k.data(), dim, v.data(), dim, keys, dim,
                          1.0f / std::sqrt(8.0f), false, 0, out.data(), dim, scratch.data()});
      INFO(IsaName(kernels->isa) << " " << large);
      for (size_t i = 0; i < out.size(); ++i) CHECK(out[i] == 7.0f);
    }
  }
}

TEST_CASE("Attention of rounded factors agrees with the reference") {
  FOR_EACH_VECTOR_TABLE(kernels) {
    std::mt19937 random(16);
    for (const size_t count : {1, 4, 16, 17, 40, 128, 129, 300}) {
      for (const size_t head_dim : {1, 20, 32, 64, 80}) {
        Case c{.q_count = count, .kv_count = count, .head_dim = head_dim, .rounded = true};
        CheckAttention(*kernels, c, random);
        c.causal = true;
        CheckAttention(*kernels, c, random);
        c.window = 9;
        CheckAttention(*kernels, c, random);
        c.causal = false;
        c.window = 20;
        c.bias = true;
        CheckAttention(*kernels, c, random);
      }
    }
    // More queries than are begun at one time; fewer keys than queries.
    for (const auto& [q_count, kv_count] :
         {std::pair(600, 600), std::pair(40, 17), std::pair(300, 129)}) {
      Case c{.q_count = static_cast<size_t>(q_count),
             .kv_count = static_cast<size_t>(kv_count),
             .head_dim = 32,
             .rounded = true};
      CheckAttention(*kernels, c, random);
      c.causal = true;
      CheckAttention(*kernels, c, random);
      c.window = 20;
      CheckAttention(*kernels, c, random);
      c.causal = false;
      CheckAttention(*kernels, c, random);
    }
  }
}

TEST_CASE("Causal attention agrees with the reference") {
  FOR_EACH_VECTOR_TABLE(kernels) {
    std::mt19937 random(11);
    for (const size_t head_dim : {16, 48}) {
      for (const size_t q_count : {1, 3, 12, 50, 130}) {
        CheckAttention(*kernels, {q_count, q_count, head_dim, true, 0}, random);
        CheckAttention(*kernels, {q_count, q_count + 200, head_dim, true, 200}, random);
        // Fewer keys than the queries could see.
        CheckAttention(*kernels, {q_count, 20, head_dim, true, 5}, random);
      }
    }
  }
}

TEST_CASE("Attention with a bias by distance agrees with the reference") {
  FOR_EACH_VECTOR_TABLE(kernels) {
    std::mt19937 random(14);
    for (const size_t count : {1, 2, 5, 33, 128, 200, 300}) {
      CheckAttention(*kernels, {count, count, 32, false, 0, 1.0f, true}, random);
    }
  }
}

TEST_CASE("Attention of a window agrees with the reference") {
  FOR_EACH_VECTOR_TABLE(kernels) {
    std::mt19937 random(15);
    for (const size_t count : {1, 2, 13, 97, 129, 400}) {
      for (const size_t window : {0, 1, 7, 64, 150, 399}) {
        for (const bool bias : {false, true}) {
          CheckAttention(*kernels, {count, count, 16, false, 0, 1.0f, bias, window}, random);
        }
      }
    }
  }
}

TEST_CASE("Attention survives scores that differ by hundreds") {
  FOR_EACH_VECTOR_TABLE(kernels) {
    std::mt19937 random(12);
    CheckAttention(*kernels, {20, 300, 32, false, 0, 60.0f}, random);
    CheckAttention(*kernels, {2, 300, 32, false, 0, 60.0f}, random);
  }
}

TEST_CASE("A query's attention does not depend on the number of other queries, bit for bit") {
  FOR_EACH_VECTOR_TABLE(kernels) {
    std::mt19937 random(13);
    constexpr size_t kKeys = 150, kDim = 32, kQueries = 40;
    const Floats q(kQueries * kDim, 0, random);
    const Floats k(kKeys * kDim, 0, random);
    const Floats v(kKeys * kDim, 0, random);
    std::vector<float> scratch(AttentionScratch(kKeys, kDim));
    const auto run = [&](size_t first, size_t count) {
      std::vector<float> out(count * kDim);
      kernels->attention({q.data() + first * kDim, kDim, count, k.data(), kDim, v.data(), kDim,
                          kKeys, kDim, 0.2f, false, 0, out.data(), kDim, scratch.data()});
      return out;
    };
    const std::vector<float> all = run(0, kQueries);
    for (const size_t first : {0, 1, 13, 36}) {
      const std::vector<float> some = run(first, 4);
      REQUIRE(std::equal(some.begin(), some.end(), all.begin() + first * kDim));
    }
  }
}

}  // namespace
}  // namespace rag::test
