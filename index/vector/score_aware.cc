#include "index/vector/score_aware.h"

#include <algorithm>
#include <cmath>

namespace rag {
namespace {

// Sweeps over the parts; few vectors change after so many.
constexpr size_t kSweeps = 3;
// Parts of more dimensions keep their entries: the equations grow with the square.
constexpr size_t kMostSolved = 64;

// x of a x = b, a [n, n] symmetric and positive definite (Cholesky; a and b are overwritten).
void Solve(std::vector<double>& a, std::vector<double>& b, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      double sum = a[i * n + j];
      for (size_t k = 0; k < j; ++k) sum -= a[i * n + k] * a[j * n + k];
      a[i * n + j] = i == j ? std::sqrt(sum) : sum / a[j * n + j];
    }
  }
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = 0; k < i; ++k) b[i] -= a[i * n + k] * b[k];
    b[i] /= a[i * n + i];
  }
  for (size_t i = n; i-- > 0;) {
    for (size_t k = i + 1; k < n; ++k) b[i] -= a[k * n + i] * b[k];
    b[i] /= a[i * n + i];
  }
}

float InverseLength(const float* row, size_t dim) {
  float squared = 0;
  for (size_t d = 0; d < dim; ++d) squared += row[d] * row[d];
  return squared > 0 ? 1 / std::sqrt(squared) : 0;
}

}  // namespace

ScoreAware::ScoreAware(double threshold, size_t dim) {
  const double squared = threshold * threshold;
  extra_ = static_cast<float>(
      std::max(0.0, (static_cast<double>(dim) - 1) * squared / (1 - squared) - 1));
}

void ScoreAware::Improve(const Codebook& book, const ListKernels& kernels, const float* residual,
                         const float* row, uint8_t* codes, float* scratch) const {
  const size_t parts = book.parts(), entries = book.entries;
  const float inverse = InverseLength(row, book.begins[parts]);
  if (inverse == 0) return;
  // Products of each entry with the residual, and with the row.
  float* const with_residual = scratch;
  float* const with_row = scratch + parts * entries;
  float along = 0;  // what the codes leave of the residual along the row, times the row's length
  for (size_t p = 0; p < parts; ++p) {
    const size_t begin = book.begins[p], dims = book.begins[p + 1] - begin;
    const float* const values = book.values + begin * entries;
    kernels.products(residual + begin, values, dims, entries, with_residual + p * entries);
    kernels.products(row + begin, values, dims, entries, with_row + p * entries);
    for (size_t d = begin; d < begin + dims; ++d) along += residual[d] * row[d];
    along -= with_row[p * entries + codes[p]];
  }
  const float weight = 0.5f * extra_ * inverse * inverse;
  for (size_t sweep = 0; sweep < kSweeps; ++sweep) {
    bool changed = false;
    for (size_t p = 0; p < parts; ++p) {
      const float* const left = with_residual + p * entries;
      const float* const right = with_row + p * entries;
      const float* const norms = book.half_norms + p * entries;
      const float others = along + right[codes[p]];
      const auto loss = [&](size_t j) {
        const float rest = others - right[j];
        return norms[j] - left[j] + weight * rest * rest;
      };
      size_t best = codes[p];
      float least = loss(best);
      for (size_t j = 0; j < entries; ++j) {
        const float here = loss(j);
        if (here < least) {
          least = here;
          best = j;
        }
      }
      if (best == codes[p]) continue;
      codes[p] = static_cast<uint8_t>(best);
      along = others - right[best];
      changed = true;
    }
    if (!changed) return;
  }
}

void ScoreAware::Update(const Codebook& book, std::span<float> values, MatrixView residuals,
                        MatrixView rows, std::span<const uint8_t> codes) const {
  const size_t n = residuals.rows, parts = book.parts(), entries = book.entries;
  const size_t dim = book.begins[parts];
  const auto value = [&](size_t d, size_t entry) -> float& { return values[d * entries + entry]; };
  std::vector<float> inverse(n);
  // Of each row what its code leaves along it, in all parts.
  std::vector<double> along(n, 0.0);
  const auto left_along = [&](size_t i, size_t p) {
    const size_t entry = codes[i * parts + p];
    double sum = 0;
    for (size_t d = book.begins[p]; d < book.begins[p + 1]; ++d) {
      sum += double{residuals.row(i)[d] - value(d, entry)} * rows.row(i)[d];
    }
    return sum * inverse[i];
  };
  for (size_t i = 0; i < n; ++i) {
    inverse[i] = InverseLength(rows.row(i).data(), dim);
    for (size_t p = 0; p < parts; ++p) along[i] += left_along(i, p);
  }
  for (size_t p = 0; p < parts; ++p) {
    const size_t begin = book.begins[p], dims = book.begins[p + 1] - begin;
    if (dims == 0 || dims > kMostSolved) continue;
    for (size_t i = 0; i < n; ++i) along[i] -= left_along(i, p);
    // (count I + extra sum u u^T) c = sum r + extra sum (others + <r, u>) u
    std::vector<double> left(entries * dims * dims), right(entries * dims);
    std::vector<size_t> counts(entries);
    for (size_t i = 0; i < n; ++i) {
      const size_t entry = codes[i * parts + p];
      const float* const r = residuals.row(i).data() + begin;
      const float* const x = rows.row(i).data() + begin;
      ++counts[entry];
      double target = along[i];
      for (size_t d = 0; d < dims; ++d) target += double{r[d]} * x[d] * inverse[i];
      for (size_t d = 0; d < dims; ++d) {
        const double u = double{x[d]} * inverse[i];
        right[entry * dims + d] += r[d] + extra_ * target * u;
        for (size_t e = 0; e <= d; ++e) {
          left[(entry * dims + d) * dims + e] += extra_ * u * x[e] * inverse[i];
        }
      }
    }
    for (size_t entry = 0; entry < entries; ++entry) {
      if (counts[entry] == 0) continue;
      std::vector<double> a(left.begin() + static_cast<ptrdiff_t>(entry * dims * dims),
                            left.begin() + static_cast<ptrdiff_t>((entry + 1) * dims * dims));
      std::vector<double> b(right.begin() + static_cast<ptrdiff_t>(entry * dims),
                            right.begin() + static_cast<ptrdiff_t>((entry + 1) * dims));
      for (size_t d = 0; d < dims; ++d) a[d * dims + d] += static_cast<double>(counts[entry]);
      Solve(a, b, dims);
      for (size_t d = 0; d < dims; ++d) value(begin + d, entry) = static_cast<float>(b[d]);
    }
    for (size_t i = 0; i < n; ++i) along[i] += left_along(i, p);
  }
}

double ScoreAware::Loss(const float* residual, const float* decoded, const float* row,
                        size_t dim) const {
  double squares = 0, along = 0;
  for (size_t d = 0; d < dim; ++d) {
    const double left = double{residual[d]} - decoded[d];
    squares += left * left;
    along += left * row[d];
  }
  along *= InverseLength(row, dim);
  return squares + extra_ * along * along;
}

}  // namespace rag
