// Vectors for the tests of the index: made with a seed, or read from the shared data.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "index/vector_index.h"
#include "lib/tensor/tensor.h"
#include "tests/support/support.h"

namespace rag::test {

inline MatrixView Rows(const Matrix& matrix, size_t first, size_t count) {
  return {matrix.data() + first * matrix.cols(), count, matrix.cols()};
}

// Gaussian clusters, as embeddings have them: `clusters` centres, each row near one of them.
inline Matrix Clustered(size_t rows, size_t dim, uint32_t seed, size_t clusters = 50,
                        uint32_t centre_seed = 1) {
  std::mt19937 centre_random(centre_seed), random(seed);
  std::normal_distribution<float> normal;
  Matrix centres(clusters, dim), out(rows, dim);
  for (size_t i = 0; i < clusters * dim; ++i) centres.data()[i] = normal(centre_random);
  for (size_t i = 0; i < rows; ++i) {
    const size_t centre = random() % clusters;
    for (size_t j = 0; j < dim; ++j) {
      out.row(i)[j] = centres.row(centre)[j] + 0.5f * normal(random);
    }
  }
  return out;
}

inline std::vector<uint64_t> Sequence(size_t count, uint64_t first = 0, uint64_t step = 1) {
  std::vector<uint64_t> ids(count);
  for (size_t i = 0; i < count; ++i) ids[i] = first + i * step;
  return ids;
}

// TEXMEX files: each vector is its int32 dimension and then its elements.
template <class Element>
std::vector<std::vector<Element>> ReadTexmex(const std::filesystem::path& path) {
  const std::string bytes = ReadAll(path);
  std::vector<std::vector<Element>> rows;
  for (size_t at = 0; at + 4 <= bytes.size();) {
    int32_t dim;
    std::memcpy(&dim, bytes.data() + at, 4);
    rows.emplace_back(static_cast<size_t>(dim));
    std::memcpy(rows.back().data(), bytes.data() + at + 4, rows.back().size() * sizeof(Element));
    at += 4 + rows.back().size() * sizeof(Element);
  }
  return rows;
}

template <class Element>
Matrix ToMatrix(const std::vector<std::vector<Element>>& rows) {
  Matrix matrix(rows.size(), rows.empty() ? 0 : rows[0].size());
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j < matrix.cols(); ++j) matrix.row(i)[j] = static_cast<float>(rows[i][j]);
  }
  return matrix;
}

inline std::unique_ptr<VectorIndex> MakeIndex(const VectorIndexOptions& options,
                                              const Runtime& runtime) {
  auto index = VectorIndex::Create(options, runtime);
  REQUIRE_OK(index);
  return std::move(index).value();
}

inline std::vector<std::vector<Neighbor>> Find(const VectorIndex& index, MatrixView queries,
                                               const SearchOptions& options) {
  auto results = index.Search(queries, options);
  REQUIRE_OK(results);
  return std::move(results).value();
}

// The share of `truth` that `found` has, over all queries.
inline double Recall(const std::vector<std::vector<Neighbor>>& found,
                     const std::vector<std::vector<Neighbor>>& truth) {
  size_t hits = 0, all = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    std::set<uint64_t> ids;
    for (const Neighbor& neighbor : found[i]) ids.insert(neighbor.id);
    for (const Neighbor& neighbor : truth[i]) hits += ids.count(neighbor.id);
    all += truth[i].size();
  }
  return all == 0 ? 1.0 : static_cast<double>(hits) / static_cast<double>(all);
}

// Ids whose remainder modulo `divisor` is below `share`.
class ModuloFilter : public IdFilter {
 public:
  ModuloFilter(uint64_t divisor, uint64_t share, size_t population)
      : divisor_(divisor), share_(share), count_(population * share / divisor) {}
  bool Contains(uint64_t id) const override { return id % divisor_ < share_; }
  size_t Count() const override { return count_; }

 private:
  uint64_t divisor_, share_;
  size_t count_;
};

class ListFilter : public IdFilter {
 public:
  explicit ListFilter(std::vector<uint64_t> ids) : ids_(std::move(ids)) {}
  bool Contains(uint64_t id) const override {
    return std::binary_search(ids_.begin(), ids_.end(), id);
  }
  std::span<const uint64_t> Ids() const override { return ids_; }
  size_t Count() const override { return ids_.size(); }

 private:
  std::vector<uint64_t> ids_;
};

}  // namespace rag::test
