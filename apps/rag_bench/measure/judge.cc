#include "apps/rag_bench/measure/judge.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

namespace rag::bench {
namespace {

constexpr size_t kPivots = 16;
constexpr uint32_t kSeed = 11;

double SquaredDistance(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t j = 0; j < a.size(); ++j) {
    const double difference = double{a[j]} - double{b[j]};
    sum += difference * difference;
  }
  return sum;
}

std::vector<Row> Ascending(std::vector<Row> rows) {
  std::sort(rows.begin(), rows.end());
  return rows;
}

}  // namespace

AllowedRows::AllowedRows(std::vector<Row> rows, size_t row_count)
    : row_count_(row_count), ids_(rows.begin(), rows.end()), bits_(row_count / 64 + 1) {
  for (const Row row : rows) bits_[row / 64] |= uint64_t{1} << (row % 64);
}

FilterCase MakeFilter(const Dataset& data, const std::string& kind, double selectivity) {
  const size_t rows = data.base.rows();
  const auto count =
      std::max<size_t>(1, static_cast<size_t>(selectivity * static_cast<double>(rows)));
  FilterCase out{kind, selectivity, {}, std::vector<uint32_t>(data.queries.rows(), 0)};
  std::mt19937 random(kSeed);
  std::vector<Row> order(rows);
  std::iota(order.begin(), order.end(), Row{0});
  std::shuffle(order.begin(), order.end(), random);
  if (kind == "random") {
    out.sets.emplace_back(Ascending({order.begin(), order.begin() + static_cast<ptrdiff_t>(count)}),
                          rows);
    return out;
  }
  const std::vector<Row> pivots(order.begin(),
                                order.begin() + static_cast<ptrdiff_t>(std::min(kPivots, rows)));
  for (const Row pivot : pivots) {
    std::vector<std::pair<double, Row>> distances(rows);
    for (size_t i = 0; i < rows; ++i) {
      const double distance = SquaredDistance(data.base.row(pivot), data.base.row(i));
      distances[i] = {kind == "correlated" ? distance : -distance, static_cast<Row>(i)};
    }
    std::nth_element(distances.begin(), distances.begin() + static_cast<ptrdiff_t>(count - 1),
                     distances.end());
    std::vector<Row> allowed(count);
    for (size_t i = 0; i < count; ++i) allowed[i] = distances[i].second;
    out.sets.emplace_back(Ascending(std::move(allowed)), rows);
  }
  for (size_t q = 0; q < data.queries.rows(); ++q) {
    double best = std::numeric_limits<double>::infinity();
    for (size_t p = 0; p < pivots.size(); ++p) {
      const double distance = SquaredDistance(data.base.row(pivots[p]), data.queries.row(q));
      if (distance >= best) continue;
      best = distance;
      out.set_of_query[q] = static_cast<uint32_t>(p);
    }
  }
  return out;
}

Result<NeighborTable> ExactNeighbors(const Dataset& data, std::span<const Row> rows, size_t k,
                                     const FilterCase* filter) {
  RAG_ASSIGN_OR_RETURN(const auto runtime, Runtime::Create());
  VectorIndexOptions options;
  options.kind = IndexKind::kFlat;
  options.dim = data.base.cols();
  options.metric = data.metric;
  RAG_ASSIGN_OR_RETURN(const auto index, VectorIndex::Create(options, *runtime));
  if (rows.empty()) {
    std::vector<uint64_t> ids(data.base.rows());
    std::iota(ids.begin(), ids.end(), uint64_t{0});
    RAG_RETURN_IF_ERROR(index->Add(ids, data.base.view()));
  } else {
    const std::vector<uint64_t> ids(rows.begin(), rows.end());
    Matrix vectors(rows.size(), options.dim);
    for (size_t i = 0; i < rows.size(); ++i) {
      std::copy_n(data.base.row(rows[i]).data(), options.dim, vectors.row(i).data());
    }
    RAG_RETURN_IF_ERROR(index->Add(ids, vectors.view()));
  }
  NeighborTable out{k, std::vector<uint32_t>(data.queries.rows() * k, kNoRow)};
  const auto keep = [&](size_t query, const std::vector<Neighbor>& found) {
    for (size_t i = 0; i < found.size(); ++i) {
      out.ids[query * k + i] = static_cast<Row>(found[i].id);
    }
  };
  if (filter == nullptr) {
    RAG_ASSIGN_OR_RETURN(const auto found, index->Search(data.queries.view(), {.k = k}));
    for (size_t q = 0; q < found.size(); ++q) keep(q, found[q]);
    return out;
  }
  for (size_t q = 0; q < data.queries.rows(); ++q) {
    RAG_ASSIGN_OR_RETURN(const auto found,
                         index->Search(MatrixView(data.queries.row(q).data(), 1, options.dim),
                                       {.k = k, .filter = &filter->of(q), .exact = true}));
    keep(q, found[0]);
  }
  return out;
}

Judge::Judge(const Dataset& data, const NeighborTable& truth, size_t k, const FilterCase* filter)
    : data_(data),
      k_(k),
      filter_(filter),
      worst_(data.queries.rows()),
      counts_(data.queries.rows()) {
  for (size_t q = 0; q < worst_.size(); ++q) {
    worst_[q] = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < std::min(k, truth.k); ++i) {
      const Row row = truth.row(q)[i];
      if (row == kNoRow) break;
      worst_[q] = std::min(worst_[q], Score(q, row));
      ++counts_[q];
    }
  }
}

double Judge::Score(size_t query, Row row) const {
  const std::span<const float> a = data_.queries.row(query);
  const std::span<const float> b = data_.base.row(row);
  if (data_.metric == Metric::kL2) return -SquaredDistance(a, b);
  double dot = 0;
  double length = 0;
  for (size_t j = 0; j < a.size(); ++j) {
    dot += double{a[j]} * double{b[j]};
    length += double{b[j]} * double{b[j]};
  }
  return data_.metric == Metric::kCosine ? dot / std::sqrt(length) : dot;
}

double Judge::Recall(std::span<const Row> found, size_t queries) const {
  size_t hits = 0;
  size_t wanted = 0;
  for (size_t q = 0; q < queries; ++q) {
    const std::span<const Row> rows = found.subspan(q * k_, k_);
    size_t of_query = 0;
    for (size_t i = 0; i < k_; ++i) {
      const Row row = rows[i];
      if (row >= data_.base.rows()) continue;
      if (std::find(rows.begin(), rows.begin() + static_cast<ptrdiff_t>(i), row) !=
          rows.begin() + static_cast<ptrdiff_t>(i)) {
        continue;
      }
      if (filter_ != nullptr && !filter_->of(q).Contains(row)) continue;
      of_query += Score(q, row) >= worst_[q] ? 1 : 0;
    }
    hits += std::min<size_t>(of_query, counts_[q]);
    wanted += counts_[q];
  }
  return wanted == 0 ? 1.0 : static_cast<double>(hits) / static_cast<double>(wanted);
}

}  // namespace rag::bench
