#include "embed/max_sim.h"

#include <algorithm>
#include <limits>

namespace rag {
namespace {

// A tile of products (64 x 32 floats) stays in the first-level cache.
constexpr size_t kTileRows = 64;

}  // namespace

MaxSimQuery::MaxSimQuery(const Kernels& kernels, MatrixView tokens)
    : kernels_(kernels),
      count_(tokens.rows),
      dim_(tokens.cols),
      packed_(1, PackedGemmBSize(kernels, tokens.rows, tokens.cols)) {
  PackGemmB(
      kernels, [&tokens](size_t j) { return tokens.row(j).data(); }, count_, dim_, packed_.data());
}

float MaxSimQuery::Score(MatrixView tokens) const {
  if (tokens.rows == 0) return 0;
  std::vector<float> best(count_, -std::numeric_limits<float>::infinity());
  std::vector<float> products(std::min(kTileRows, tokens.rows) * count_);
  for (size_t first = 0; first < tokens.rows; first += kTileRows) {
    const size_t rows = std::min(kTileRows, tokens.rows - first);
    kernels_.gemm(rows, count_, dim_, tokens.row(first).data(), tokens.stride, packed_.data(),
                  nullptr, products.data(), count_);
    for (size_t i = 0; i < rows; ++i) {
      const float* row = products.data() + i * count_;
      for (size_t j = 0; j < count_; ++j) best[j] = std::max(best[j], row[j]);
    }
  }
  float sum = 0;
  for (const float value : best) sum += value;
  return sum;
}

}  // namespace rag
