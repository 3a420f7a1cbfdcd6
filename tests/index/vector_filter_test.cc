// Filtered search: enough results, only allowed ones, and the nearest of them, whatever the filter.
#include <algorithm>
#include <catch2/catch.hpp>

#include "index/vector_index.h"
#include "tests/index/vectors.h"

namespace rag::test {
namespace {

// A bitmap; with its ids listed or not.
class SetFilter : public IdFilter {
 public:
  SetFilter(std::vector<uint64_t> ids, size_t population, bool listed)
      : ids_(std::move(ids)), allowed_(population, false), listed_(listed) {
    std::sort(ids_.begin(), ids_.end());
    for (const uint64_t id : ids_) allowed_[id] = true;
  }
  bool Contains(uint64_t id) const override { return id < allowed_.size() && allowed_[id]; }
  std::span<const uint64_t> Ids() const override {
    return listed_ ? std::span<const uint64_t>(ids_) : std::span<const uint64_t>();
  }
  size_t Count() const override { return ids_.size(); }

 private:
  std::vector<uint64_t> ids_;
  std::vector<bool> allowed_;
  bool listed_;
};

enum class Shape { kRandom, kNear, kFar };

// `count` of the rows: at random, or those nearest to or furthest from the point.
std::vector<uint64_t> Choose(const Matrix& base, std::span<const float> point, size_t count,
                             Shape shape) {
  std::mt19937 random(5);
  std::vector<std::pair<double, uint64_t>> order;
  for (size_t i = 0; i < base.rows(); ++i) {
    double distance = 0;
    for (size_t j = 0; j < base.cols(); ++j) {
      distance += (double{base.row(i)[j]} - point[j]) * (double{base.row(i)[j]} - point[j]);
    }
    if (shape == Shape::kRandom) distance = random();
    order.push_back({shape == Shape::kFar ? -distance : distance, i});
  }
  std::sort(order.begin(), order.end());
  std::vector<uint64_t> ids;
  for (size_t i = 0; i < count; ++i) ids.push_back(order[i].second);
  return ids;
}

}  // namespace

TEST_CASE("filters: random, correlated and anti-correlated, of every size") {
  const auto runtime = MakeRuntime();
  const CodeKind codes = GENERATE(CodeKind::kNone, CodeKind::kPca8);
  const bool listed = GENERATE(true, false);
  const size_t n = 12'000, dim = 32, k = 10;
  const Matrix base = Clustered(n, dim, 71), queries = Clustered(10, dim, 72);
  VectorIndexOptions options;
  options.dim = dim;
  options.metric = Metric::kL2;
  options.hnsw.codes = codes;
  options.hnsw.ef_construction = 100;
  const auto index = MakeIndex(options, *runtime);
  REQUIRE_OK(index->Add(Sequence(n), base.view()));
  for (const Shape shape : {Shape::kRandom, Shape::kNear, Shape::kFar}) {
    for (const size_t count :
         {size_t{5}, size_t{12}, size_t{120}, size_t{1'200}, size_t{3'600}, size_t{6'000}, n}) {
      double recall = 0;
      for (size_t q = 0; q < queries.rows(); ++q) {
        const SetFilter filter(Choose(base, queries.row(q), count, shape), n, listed);
        const MatrixView query = Rows(queries, q, 1);
        const auto truth = Find(*index, query, {.k = k, .filter = &filter, .exact = true});
        const auto found = Find(*index, query, {.k = k, .ef_search = 64, .filter = &filter});
        REQUIRE(found[0].size() == std::min(k, count));
        for (const Neighbor& neighbor : found[0]) REQUIRE(filter.Contains(neighbor.id));
        recall += Recall(found, truth) / static_cast<double>(queries.rows());
      }
      INFO(CodeKindName(codes) << ", listed " << listed << ", shape " << static_cast<int>(shape)
                               << ", " << count << " of " << n);
      CHECK(recall >= 0.95);
    }
  }
}

}  // namespace rag::test
