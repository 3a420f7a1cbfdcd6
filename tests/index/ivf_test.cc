// IVF: recall on real data, training and what causes it, the planner, and k-means and codes beside
// FAISS's.
#include <faiss/AutoTune.h>
#include <faiss/Clustering.h>
#include <faiss/IndexFlat.h>
#include <faiss/index_factory.h>
#include <omp.h>

#include <catch2/catch.hpp>
#include <memory>

#include "index/vector/ivf_kmeans.h"
#include "index/vector_index.h"
#include "tests/index/vectors.h"

namespace rag::test {
namespace {

VectorIndexOptions Options(Metric metric, size_t dim, IvfCodes codes) {
  VectorIndexOptions options;
  options.kind = IndexKind::kIvf;
  options.metric = metric;
  options.dim = dim;
  options.ivf.codes = codes;
  return options;
}

// A bit for each of 64 dimensions misplaces more than longer codes do.
size_t Reranked(IvfCodes codes) { return codes == IvfCodes::kRabitq ? 40 : 0; }

std::unique_ptr<VectorIndex> Flat(Metric metric, MatrixView base, const Runtime& runtime) {
  VectorIndexOptions options;
  options.kind = IndexKind::kFlat;
  options.metric = metric;
  options.dim = base.cols;
  auto index = MakeIndex(options, runtime);
  REQUIRE_OK(index->Add(Sequence(base.rows), base));
  return index;
}

struct Set {
  const char* folder;
  const char* base;
  const char* queries;
  Metric metric;
  double least;  // recall@10 with default probes
};

Matrix ReadRows(const std::filesystem::path& path) {
  return path.extension() == ".bvecs" ? ToMatrix(ReadTexmex<uint8_t>(path))
                                      : ToMatrix(ReadTexmex<float>(path));
}

TEST_CASE("recall of inverted lists on real data") {
  const Set set = GENERATE(
      Set{"ann-sift10k", "base.bvecs", "query.bvecs", Metric::kL2, 0.95},
      Set{"ann-fashion-mnist-1k", "base.bvecs", "query.bvecs", Metric::kL2, 0.95},
      Set{"ann-glove-twitter-25", "base.fvecs", "query.fvecs", Metric::kCosine, 0.9},
      Set{"ann-scifact-minilm", "base_128.fvecs", "query_128.fvecs", Metric::kInnerProduct, 0.9});
  const auto folder = SharedData(set.folder);
  if (!folder) RAG_SKIP(std::string(set.folder) + " is not there");
  const auto runtime = MakeRuntime();
  const Matrix base = ReadRows(*folder / set.base), queries = ReadRows(*folder / set.queries);
  const auto truth = Find(*Flat(set.metric, base.view(), *runtime), queries.view(), {.k = 10});
  for (const IvfCodes codes :
       {IvfCodes::kNone, IvfCodes::kSq8, IvfCodes::kPq8, IvfCodes::kPq4, IvfCodes::kRabitq}) {
    VectorIndexOptions options = Options(set.metric, base.cols(), codes);
    options.ivf.lists = std::min<size_t>(64, base.rows() / 39);
    const auto index = MakeIndex(options, *runtime);
    REQUIRE_OK(index->Add(Sequence(base.rows()), base.view()));
    REQUIRE_OK(index->Verify());
    const auto found = Find(*index, queries.view(), {.k = 10});
    const double recall = Recall(found, truth);
    // One by one, as a server asks: the batch changes nothing.
    for (size_t q = 0; q < 20; ++q) {
      REQUIRE(Find(*index, Rows(queries, q, 1), {.k = 10})[0] == found[q]);
    }
    WARN(set.folder << " " << IvfCodesName(codes) << ": recall@10 " << recall);
    REQUIRE(recall >= set.least);
    // Every list, and enough candidates: exact but for the codes' order.
    const double all =
        Recall(Find(*index, queries.view(), {.k = 10, .probes = 65'536, .rerank = 40}), truth);
    REQUIRE(all >= (codes == IvfCodes::kNone ? 0.9999 : 0.97));
  }
}

TEST_CASE("k-means ends no worse than FAISS's") {
  omp_set_num_threads(1);  // the sanitizers do not know libgomp's threads
  const auto runtime = MakeRuntime();
  const size_t n = 8'000, dim = 24, clusters = 64;
  const Matrix rows = Clustered(n, dim, 91, 100);
  const auto error = [&](const float* points) {
    Matrix centroids(clusters, dim);
    std::copy_n(points, clusters * dim, centroids.data());
    std::vector<uint32_t> nearest(n);
    std::vector<float> distances(n);
    Centroids(std::move(centroids), *runtime).Nearest(rows.view(), nearest, distances);
    double sum = 0;
    for (const float distance : distances) sum += distance;
    return sum;
  };
  faiss::ClusteringParameters parameters;
  parameters.niter = 10;
  faiss::Clustering theirs(static_cast<int>(dim), static_cast<int>(clusters), parameters);
  faiss::IndexFlatL2 assigner(static_cast<faiss::Index::idx_t>(dim));
  theirs.train(static_cast<faiss::Index::idx_t>(n), rows.data(), assigner);
  const Centroids ours =
      TrainKMeans(rows.view(), {.clusters = clusters, .iterations = 10, .seed = 1}, *runtime);
  REQUIRE(ours.count() == clusters);
  REQUIRE(error(ours.points().data()) <= 1.1 * error(theirs.centroids.data()));
  // The same with one thread.
  const auto alone = MakeRuntime("", 1);
  const Centroids again =
      TrainKMeans(rows.view(), {.clusters = clusters, .iterations = 10, .seed = 1}, *alone);
  REQUIRE(std::equal(ours.points().data(), ours.points().data() + clusters * dim,
                     again.points().data()));
}

TEST_CASE("k-means leaves no cluster empty") {
  const auto runtime = MakeRuntime();
  Matrix rows(300, 2);
  for (size_t i = 0; i < 300; ++i) {
    rows.row(i)[0] = static_cast<float>(i % 3) * 10 + 1;
    rows.row(i)[1] = i < 297 ? 1.0f : static_cast<float>(i);
  }
  const Centroids points = TrainKMeans(rows.view(), {.clusters = 6}, *runtime);
  std::vector<uint32_t> nearest(300);
  points.Nearest(rows.view(), nearest, {});
  REQUIRE(points.count() == 6);
  std::set<uint32_t> used(nearest.begin(), nearest.end());
  REQUIRE(used.size() >= 5);
  const Centroids few = TrainKMeans(Rows(rows, 0, 4), {.clusters = 6}, *runtime);
  REQUIRE(few.count() == 4);
}

// The candidates before re-ranking decide: as many of the true neighbours must be among them as
// FAISS's codes of the same size put there.
TEST_CASE("codes find no fewer neighbours than FAISS's of the same size") {
  omp_set_num_threads(1);
  const auto folder = SharedData("ann-sift10k");
  if (!folder) RAG_SKIP("ann-sift10k is not there");
  const auto runtime = MakeRuntime();
  // A part of it: Debian's FAISS takes its time.
  auto rows = ReadTexmex<uint8_t>(*folder / "base.bvecs");
  rows.resize(3'000);
  const Matrix base = ToMatrix(rows), queries = ReadRows(*folder / "query.bvecs");
  const auto truth = Find(*Flat(Metric::kL2, base.view(), *runtime), queries.view(), {.k = 10});
  struct Peer {
    IvfCodes codes;
    const char* factory;
  };
  for (const Peer& peer :
       {Peer{IvfCodes::kPq4, "IVF32,PQ32x4fs,RFlat"}, Peer{IvfCodes::kSq8, "IVF32,SQ8,RFlat"}}) {
    std::unique_ptr<faiss::Index> theirs(
        faiss::index_factory(static_cast<int>(base.cols()), peer.factory));
    theirs->train(static_cast<faiss::Index::idx_t>(base.rows()), base.data());
    theirs->add(static_cast<faiss::Index::idx_t>(base.rows()), base.data());
    faiss::ParameterSpace().set_index_parameters(theirs.get(), "nprobe=8,k_factor_rf=2");
    std::vector<float> distances(queries.rows() * 10);
    std::vector<faiss::Index::idx_t> labels(queries.rows() * 10);
    theirs->search(static_cast<faiss::Index::idx_t>(queries.rows()), queries.data(), 10,
                   distances.data(), labels.data());
    std::vector<std::vector<Neighbor>> found(queries.rows());
    for (size_t i = 0; i < labels.size(); ++i) {
      found[i / 10].push_back({static_cast<uint64_t>(labels[i]), 0});
    }
    VectorIndexOptions options = Options(Metric::kL2, base.cols(), peer.codes);
    options.ivf.lists = 32;
    options.ivf.pq_bytes = 16;
    const auto index = MakeIndex(options, *runtime);
    REQUIRE_OK(index->Add(Sequence(base.rows()), base.view()));
    const double ours =
        Recall(Find(*index, queries.view(), {.k = 10, .probes = 8, .rerank = 2}), truth);
    const double faiss_recall = Recall(found, truth);
    WARN(peer.factory << ": recall@10 of 20 re-ranked: ours " << ours << ", FAISS "
                      << faiss_recall);
    CHECK(ours >= faiss_recall - 0.01);
  }
}

// One strong direction that lies across all of the parts: without a rotation every part has to
// spend its bits on it.
TEST_CASE("a rotation makes product codes better where directions lie across their parts") {
  const auto runtime = MakeRuntime();
  const TemporaryFolder folder;
  const size_t n = 4'000, dim = 32;
  Matrix base = Clustered(n, dim, 131, 1);
  std::mt19937 random(132);
  std::normal_distribution<float> normal;
  for (size_t i = 0; i < n; ++i) {
    const float along[] = {3 * normal(random), 3 * normal(random)};
    for (size_t d = 0; d < dim; ++d) base.row(i)[d] += d % 2 == 0 ? along[0] : along[1];
  }
  const IvfCodes codes = GENERATE(IvfCodes::kPq8, IvfCodes::kPq4);
  const auto truth = Find(*Flat(Metric::kL2, base.view(), *runtime), Rows(base, 0, 200), {.k = 10});
  double recalls[2];
  for (const bool rotate : {false, true}) {
    VectorIndexOptions options = Options(Metric::kL2, dim, codes);
    options.ivf.lists = 1;
    options.ivf.pq_bytes = 8;
    options.ivf.rotate = rotate;
    const auto index = MakeIndex(options, *runtime);
    REQUIRE_OK(index->Add(Sequence(n), base.view()));
    const SearchOptions search{.k = 10, .probes = 1, .rerank = 1};
    const auto found = Find(*index, Rows(base, 0, 200), search);
    recalls[rotate ? 1 : 0] = Recall(found, truth);
    REQUIRE_OK(index->Save(folder.file("v"), 1));
    auto loaded = VectorIndex::Load(folder.file("v"), options, *runtime);
    REQUIRE_OK(loaded);
    REQUIRE(Recall(Find(*loaded->index, Rows(base, 0, 200), search), found) >= 0.999);
    options.ivf.rotate = !rotate;
    REQUIRE(VectorIndex::Load(folder.file("v"), options, *runtime).status().code() ==
            StatusCode::kFailedPrecondition);
  }
  WARN(IvfCodesName(codes) << ": recall@10 without re-ranking " << recalls[0] << ", rotated "
                           << recalls[1]);
  REQUIRE(recalls[1] > recalls[0]);
}

TEST_CASE("lists follow what is added and removed, through trainings") {
  const auto runtime = MakeRuntime();
  const size_t n = 12'000, dim = 64;
  const IvfCodes codes = GENERATE(IvfCodes::kNone, IvfCodes::kPq4, IvfCodes::kRabitq);
  // From the second half on the rows come from elsewhere: the drift starts a training.
  Matrix base = Clustered(n, dim, 101);
  const Matrix elsewhere = Clustered(n / 2, dim, 102, 50, 7);
  for (size_t i = n / 2; i < n; ++i) {
    for (size_t d = 0; d < dim; ++d) base.row(i)[d] = elsewhere.row(i - n / 2)[d] + 4;
  }
  const auto index = MakeIndex(Options(Metric::kL2, dim, codes), *runtime);
  const size_t step = 500;
  for (size_t first = 0; first < n; first += step) {
    REQUIRE_OK(index->Add(Sequence(step, first), Rows(base, first, step)));
    if (first % 2'000 == 0) REQUIRE_OK(index->Verify());
  }
  const auto flat = Flat(Metric::kL2, base.view(), *runtime);
  const Matrix queries = Clustered(100, dim, 103);
  const auto check = [&](double least) {
    // A bit for each of 64 dimensions tells neighbours within a cluster apart hardly.
    if (codes == IvfCodes::kRabitq) least -= 0.05;
    REQUIRE_OK(index->Verify());
    INFO(IvfCodesName(codes));
    const SearchOptions search{.k = 10, .rerank = Reranked(codes)};
    const double recall =
        Recall(Find(*index, queries.view(), search), Find(*flat, queries.view(), search));
    REQUIRE(recall >= least);
    const double there = Recall(Find(*index, Rows(base, n - 100, 100), search),
                                Find(*flat, Rows(base, n - 100, 100), search));
    REQUIRE(there >= least);
  };
  check(0.95);
  for (VectorIndex* each : {index.get(), flat.get()}) {
    REQUIRE(each->Remove(Sequence(n / 4, 0, 2)).value() == n / 4);
  }
  check(0.95);
  // Down to less than a training takes, and to nothing.
  for (VectorIndex* each : {index.get(), flat.get()}) {
    REQUIRE(each->Remove(Sequence(n - 1'000)).value() == n - n / 4 - 1'000);
  }
  check(0.95);
  REQUIRE(index->Remove(index->Ids()).value() == 1'000);
  REQUIRE(Find(*index, queries.view(), {.k = 10})[0].empty());
  REQUIRE_OK(index->Add(Sequence(n), base.view()));
  REQUIRE_OK(index->Verify());
}

// Filters that allow rows at random, those nearest to the first query, and those farthest from it.
TEST_CASE("filters of every size and place find the nearest matches") {
  const auto runtime = MakeRuntime();
  const size_t n = 12'000, dim = 64;
  const Matrix base = Clustered(n, dim, 141), queries = Clustered(20, dim, 142);
  const IvfCodes codes = GENERATE(IvfCodes::kNone, IvfCodes::kPq4, IvfCodes::kRabitq);
  VectorIndexOptions options = Options(Metric::kL2, dim, codes);
  options.ivf.lists = 128;
  const auto index = MakeIndex(options, *runtime);
  REQUIRE_OK(index->Add(Sequence(n), base.view()));
  const auto flat = Flat(Metric::kL2, base.view(), *runtime);
  const auto order = Find(*flat, Rows(queries, 0, 1), {.k = n})[0];
  std::mt19937 random(143);
  for (const size_t count : {n / 2, n / 10, n / 50, size_t{30}}) {
    for (const int shape : {0, 1, 2}) {
      std::vector<bool> allowed(n);
      for (size_t i = 0; i < count; ++i) {
        const size_t at = shape == 0 ? random() % n : (shape == 1 ? i : n - 1 - i);
        allowed[order[at].id] = true;
      }
      class Allowed : public IdFilter {
       public:
        Allowed(const std::vector<bool>& allowed, size_t count)
            : allowed_(allowed), count_(count) {}
        bool Contains(uint64_t id) const override { return allowed_[id]; }
        size_t Count() const override { return count_; }

       private:
        const std::vector<bool>& allowed_;
        size_t count_;
      };
      const Allowed filter(allowed, count);
      const SearchOptions search{.k = 10, .rerank = Reranked(codes), .filter = &filter};
      const double recall =
          Recall(Find(*index, queries.view(), search), Find(*flat, queries.view(), search));
      INFO(IvfCodesName(codes) << ", " << count << " allowed, shape " << shape);
      // Far away the distances lie close together, and codes tell them apart less well.
      CHECK(recall >= (codes == IvfCodes::kNone || shape != 2 ? 0.95 : 0.9));
    }
  }
}

TEST_CASE("element types of stored rows") {
  const auto runtime = MakeRuntime();
  const size_t n = 3'000, dim = 20;
  const ElementType element =
      GENERATE(ElementType::kF16, ElementType::kBF16, ElementType::kI8, ElementType::kU8);
  Matrix base = Clustered(n, dim, 111);
  for (size_t i = 0; i < n * dim; ++i) {
    base.data()[i] = std::round(std::min(std::abs(base.data()[i]) * 20, 127.0f));
  }
  for (const Metric metric : {Metric::kL2, Metric::kCosine, Metric::kInnerProduct}) {
    VectorIndexOptions options = Options(metric, dim, IvfCodes::kPq4);
    options.element = element;
    options.ivf.lists = 16;
    const auto index = MakeIndex(options, *runtime);
    REQUIRE_OK(index->Add(Sequence(n), base.view()));
    options.kind = IndexKind::kFlat;
    const auto flat = MakeIndex(options, *runtime);
    REQUIRE_OK(flat->Add(Sequence(n), base.view()));
    REQUIRE(Recall(Find(*index, Rows(base, 0, 50), {.k = 10}),
                   Find(*flat, Rows(base, 0, 50), {.k = 10})) >= 0.95);
  }
  VectorIndexOptions options = Options(Metric::kManhattan, dim, IvfCodes::kPq4);
  REQUIRE(VectorIndex::Create(options, *runtime).status().code() == StatusCode::kInvalidArgument);
}

TEST_CASE("a saved file does not depend on the instruction set") {
  const TemporaryFolder folder;
  const size_t n = 2'000, dim = 70;
  const Matrix base = Clustered(n, dim, 121), queries = Clustered(30, dim, 122);
  const IvfCodes codes =
      GENERATE(IvfCodes::kSq8, IvfCodes::kPq8, IvfCodes::kPq4, IvfCodes::kRabitq);
  VectorIndexOptions options = Options(Metric::kL2, dim, codes);
  options.ivf.lists = 16;
  const auto best = MakeRuntime(), scalar = MakeRuntime("scalar");
  const auto index = MakeIndex(options, *best);
  REQUIRE_OK(index->Add(Sequence(n), base.view()));
  REQUIRE_OK(index->Save(folder.file("v"), 1));
  auto loaded = VectorIndex::Load(folder.file("v"), options, *scalar);
  REQUIRE_OK(loaded);
  REQUIRE_OK(loaded->index->Verify());
  REQUIRE(Recall(Find(*loaded->index, queries.view(), {.k = 10}),
                 Find(*index, queries.view(), {.k = 10})) >= 0.99);
}

}  // namespace
}  // namespace rag::test
