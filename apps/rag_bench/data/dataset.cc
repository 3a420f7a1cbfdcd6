#include "apps/rag_bench/data/dataset.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <random>

namespace rag::bench {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kSeed = 7;
constexpr size_t kDefaultClusters = 200;
constexpr size_t kMaxClusters = 1'000'000;
constexpr size_t kSyntheticQueries = 1'000;

struct KnownSet {
  const char* name;
  const char* base;
  const char* queries;  // null: the rows of base from split on
  const char* truth;    // null: none
  Metric metric;
  size_t split = 0;
};

constexpr KnownSet kKnownSets[] = {
    {"ann-sift10k", "base.bvecs", "query.bvecs", "groundtruth_l2_top100.ivecs", Metric::kL2},
    {"ann-fashion-mnist", "train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz", nullptr,
     Metric::kL2},
    {"ann-fashion-mnist-1k", "base.bvecs", "query.bvecs", "groundtruth_l2_top100.ivecs",
     Metric::kL2},
    {"ann-mnist-784", "t10k-images-idx3-ubyte.gz", nullptr, "groundtruth_l2_top100.ivecs",
     Metric::kL2, 9'000},
    {"ann-glove-twitter-25", "base.fvecs", "query.fvecs", "groundtruth_cosine_top100.ivecs",
     Metric::kCosine},
    {"ann-scifact-minilm", "base_128.fvecs", "query_128.fvecs", "groundtruth_ip_128_top100.ivecs",
     Metric::kInnerProduct},
};

const KnownSet* FindKnown(std::string_view name) {
  for (const KnownSet& set : kKnownSets) {
    if (name == set.name || StrCat("ann-", name) == set.name) return &set;
  }
  return nullptr;
}

Matrix Rows(const Matrix& from, size_t begin, size_t end) {
  Matrix out(end - begin, from.cols());
  std::copy(from.data() + begin * from.cols(), from.data() + end * from.cols(), out.data());
  return out;
}

Result<Dataset> LoadKnown(const KnownSet& set, const fs::path& folder,
                          const DatasetRequest& request) {
  Dataset out;
  out.metric = set.metric;
  const auto file = [&](const char* name) { return (folder / name).string(); };
  if (set.queries != nullptr) {
    RAG_ASSIGN_OR_RETURN(out.base, ReadVectors(file(set.base), request.max_rows));
    RAG_ASSIGN_OR_RETURN(out.queries, ReadVectors(file(set.queries), request.max_queries));
  } else {
    RAG_ASSIGN_OR_RETURN(const Matrix all, ReadVectors(file(set.base)));
    if (all.rows() <= set.split) {
      return DataLossError("'", file(set.base), "': ", all.rows(), " rows, more than ", set.split,
                           " belong there");
    }
    out.base = Rows(all, 0, std::min(request.max_rows, set.split));
    out.queries = Rows(all, set.split, std::min(all.rows(), set.split + request.max_queries));
  }
  if (set.truth != nullptr && request.truth.empty()) {
    RAG_ASSIGN_OR_RETURN(out.truth, ReadNeighbors(file(set.truth), out.queries.rows()));
  }
  return out;
}

Result<size_t> ParseNumber(std::string_view text, std::string_view all, size_t max) {
  size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1 || value > max) {
    return InvalidArgumentError("'", text, "' in '", all, "' is no number from 1 to ", max,
                                "; synthetic:ROWSxDIM[:CLUSTERS]");
  }
  return value;
}

// Normal clouds of standard deviation 1 around normal centres.
Result<Dataset> Synthetic(const std::string& data, const DatasetRequest& request) {
  std::string_view text = data;
  text.remove_prefix(text.find(':') + 1);
  const size_t x = text.find('x');
  if (x == std::string_view::npos) {
    return InvalidArgumentError("'", data, "' is not synthetic:ROWSxDIM[:CLUSTERS]");
  }
  const size_t colon = text.find(':', x);
  RAG_ASSIGN_OR_RETURN(size_t rows, ParseNumber(text.substr(0, x), data, kMaxValues));
  RAG_ASSIGN_OR_RETURN(const size_t dim,
                       ParseNumber(text.substr(x + 1, colon - x - 1), data, kMaxDim));
  size_t clusters = kDefaultClusters;
  if (colon != std::string_view::npos) {
    RAG_ASSIGN_OR_RETURN(clusters, ParseNumber(text.substr(colon + 1), data, kMaxClusters));
  }
  rows = std::min(rows, request.max_rows);
  RAG_RETURN_IF_ERROR(CheckShape(data, rows, dim));
  RAG_RETURN_IF_ERROR(CheckShape(data, clusters, dim));
  std::mt19937 random(kSeed);
  std::normal_distribution<float> normal;
  Matrix centres(clusters, dim);
  std::generate_n(centres.data(), clusters * dim, [&] { return normal(random); });
  const auto fill = [&](Matrix& out) {
    for (size_t i = 0; i < out.rows(); ++i) {
      const auto centre = centres.row(random() % clusters);
      for (size_t j = 0; j < dim; ++j) out.row(i)[j] = centre[j] + normal(random);
    }
  };
  Dataset out;
  out.base = Matrix(rows, dim);
  out.queries = Matrix(std::min(kSyntheticQueries, request.max_queries), dim);
  fill(out.queries);
  fill(out.base);
  return out;
}

// ann-benchmarks' names.
Result<Metric> ParseDistance(const std::string& distance, const std::string& path) {
  if (distance == "euclidean") return Metric::kL2;
  if (distance == "angular") return Metric::kCosine;
  if (distance == "dot" || distance == "ip") return Metric::kInnerProduct;
  if (distance.empty()) return Metric::kL2;
  return UnsupportedError("'", path, "', attribute 'distance': '", distance,
                          "' is none of euclidean, angular, dot; --metric overrides it");
}

Result<Dataset> LoadHdf5(const DatasetRequest& request) {
  RAG_ASSIGN_OR_RETURN(AnnBenchmarksFile file,
                       ReadAnnBenchmarks(request.data, request.max_rows, request.max_queries));
  Dataset out;
  const Result<Metric> metric = ParseDistance(file.distance, request.data);
  if (metric.ok()) {
    out.metric = *metric;
  } else {
    if (!request.metric) return metric.status();
    file.neighbors = {};  // by a distance that is not known here
  }
  out.base = std::move(file.train);
  out.queries = std::move(file.test);
  out.truth = std::move(file.neighbors);
  return out;
}

Result<Dataset> LoadPlain(const DatasetRequest& request) {
  Dataset out;
  if (!request.queries.empty()) {
    RAG_ASSIGN_OR_RETURN(out.base, ReadVectors(request.data, request.max_rows));
    return out;
  }
  RAG_ASSIGN_OR_RETURN(const Matrix all, ReadVectors(request.data));
  const size_t queries = std::min(request.max_queries, all.rows() / 10);
  if (queries == 0) {
    return InvalidArgumentError("'", request.data, "': ", all.rows(),
                                " rows are too few to take queries from; use --queries");
  }
  const size_t split = all.rows() - queries;
  out.base = Rows(all, 0, std::min(split, request.max_rows));
  out.queries = Rows(all, split, all.rows());
  return out;
}

Result<Dataset> LoadData(const DatasetRequest& request) {
  const std::string& data = request.data;
  if (data.starts_with("synthetic:")) return Synthetic(data, request);
  if (data.ends_with(".hdf5") || data.ends_with(".h5")) return LoadHdf5(request);
  std::error_code error;
  if (fs::is_directory(data, error)) {
    const std::string name = fs::canonical(data, error).filename().string();
    if (const KnownSet* set = FindKnown(name)) return LoadKnown(*set, data, request);
    return InvalidArgumentError("the folder '", data, "' is no known set; name one of its files");
  }
  if (const KnownSet* set = FindKnown(data)) {
    if (request.data_dir.empty()) {
      return InvalidArgumentError("'", data,
                                  "' is a known set; --data-dir or RAG_TEST_DATA says where it is");
    }
    return LoadKnown(*set, fs::path(request.data_dir) / set->name, request);
  }
  return LoadPlain(request);
}

// Ground truth that fits base and queries, or none: cut rows make it another question's.
Status CheckTruth(Dataset& dataset, const DatasetRequest& request, const std::string& place) {
  if (dataset.truth.k == 0) return OkStatus();
  const bool other_metric = request.metric && *request.metric != dataset.metric;
  const bool maybe_cut = dataset.base.rows() == request.max_rows;
  if (request.truth.empty() && (other_metric || maybe_cut)) {
    dataset.truth = {};
    return OkStatus();
  }
  if (dataset.truth.rows() < dataset.queries.rows()) {
    return InvalidArgumentError(place, ": ", dataset.truth.rows(), " rows of ground truth for ",
                                dataset.queries.rows(), " queries");
  }
  for (size_t i = 0; i < dataset.truth.ids.size(); ++i) {
    if (dataset.truth.ids[i] < dataset.base.rows()) continue;
    return InvalidArgumentError(place, ", row ", i / dataset.truth.k, ": id ", dataset.truth.ids[i],
                                " in a base of ", dataset.base.rows(), " rows");
  }
  return OkStatus();
}

}  // namespace

std::vector<std::string> KnownSetNames() {
  std::vector<std::string> names;
  for (const KnownSet& set : kKnownSets) names.emplace_back(set.name);
  return names;
}

Result<Dataset> LoadDataset(const DatasetRequest& request) {
  RAG_ASSIGN_OR_RETURN(Dataset out, LoadData(request));
  if (!request.queries.empty()) {
    RAG_ASSIGN_OR_RETURN(out.queries, ReadVectors(request.queries, request.max_queries));
    out.truth = {};
  }
  if (!request.truth.empty()) {
    RAG_ASSIGN_OR_RETURN(out.truth, ReadNeighbors(request.truth, out.queries.rows()));
  }
  if (out.base.rows() == 0 || out.queries.rows() == 0) {
    return InvalidArgumentError("'", request.data, "': ", out.base.rows(), " vectors and ",
                                out.queries.rows(), " queries; both are needed");
  }
  if (out.base.cols() != out.queries.cols()) {
    return InvalidArgumentError("'", request.data, "' has dimension ", out.base.cols(),
                                ", the queries ", out.queries.cols());
  }
  RAG_RETURN_IF_ERROR(CheckTruth(out, request, StrCat("'", request.data, "'")));
  if (request.metric) out.metric = *request.metric;
  out.name = request.data.starts_with("synthetic:")
                 ? request.data
                 : fs::path(request.data).lexically_normal().filename().string();
  return out;
}

}  // namespace rag::bench
