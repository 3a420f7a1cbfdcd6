// Graphs that are built and walked over codes.
#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#include <thread>

#include "index/vector/node_codec.h"
#include "index/vector_index.h"
#include "tests/index/vectors.h"

namespace rag::test {
namespace {

VectorIndexOptions Options(Metric metric, CodeKind codes, size_t dim) {
  VectorIndexOptions options;
  options.metric = metric;
  options.dim = dim;
  options.hnsw.codes = codes;
  return options;
}

#define FOR_EVERY_CODE                                                                 \
  const auto runtime = MakeRuntime();                                                  \
  const CodeKind codes = GENERATE(CodeKind::kSq8, CodeKind::kPca8, CodeKind::kRabitq,  \
                                  CodeKind::kSq4, CodeKind::kPca4);                    \
  const Metric metric = GENERATE(Metric::kInnerProduct, Metric::kCosine, Metric::kL2); \
  INFO(CodeKindName(codes) << " " << MetricName(metric))

}  // namespace

TEST_CASE("codes: recall and exact scores on text embeddings") {
  const auto folder = SharedData("ann-scifact-minilm");
  if (!folder) RAG_SKIP("ann-scifact-minilm is not there");
  FOR_EVERY_CODE;
  const Matrix base = ToMatrix(ReadTexmex<float>(*folder / "base_128.fvecs"));
  const Matrix queries = ToMatrix(ReadTexmex<float>(*folder / "query_128.fvecs"));
  const auto index = MakeIndex(Options(metric, codes, base.cols()), *runtime);
  REQUIRE_OK(index->Add(Sequence(base.rows()), base.view()));
  REQUIRE_OK(index->Verify());
  const auto truth = Find(*index, queries.view(), {.k = 10, .exact = true});
  // The widest walk that costs less than a scan of the codes. A bit for each of 128 dimensions
  // leads it less straight.
  const bool coarse = codes == CodeKind::kRabitq;
  const auto walked = Find(*index, queries.view(), {.k = 10, .ef_search = 80});
  REQUIRE(Recall(walked, truth) >= (coarse ? 0.9 : 0.97));
  const auto found = Find(*index, queries.view(), {.k = 10, .ef_search = 200});
  REQUIRE(Recall(found, truth) >= 0.98);
  for (size_t q = 0; q < queries.rows(); ++q) {
    REQUIRE(found[q].size() == 10);
    for (const Neighbor& neighbor : found[q]) {
      for (const Neighbor& exact : truth[q]) {
        if (exact.id == neighbor.id) REQUIRE(neighbor.score == Approx(exact.score).margin(1e-5));
      }
    }
  }
}

TEST_CASE("codes: learned on the way, kept by snapshots, forgotten vectors overwritten") {
  FOR_EVERY_CODE;
  const size_t dim = 96, n = 4'000;
  const Matrix base = Clustered(n, dim, 21), queries = Clustered(50, dim, 22);
  const VectorIndexOptions options = Options(metric, codes, dim);
  const auto index = MakeIndex(options, *runtime);
  size_t before = 0;
  for (size_t first = 0; first < n; first += 250) {
    REQUIRE_OK(index->Add(Sequence(250, first), Rows(base, first, 250)));
    if (first == 500) before = index->memory_bytes() / (first + 250);
    const auto truth = Find(*index, queries.view(), {.k = 10, .exact = true});
    REQUIRE(Recall(Find(*index, queries.view(), {.k = 10, .ef_search = 60}), truth) >= 0.95);
  }
  // 64 bytes of a code for each vector have come.
  REQUIRE(index->memory_bytes() / n > before + 32);
  REQUIRE_OK(index->Verify());

  REQUIRE(index->Remove(Sequence(n / 2, 0, 2)).value() == n / 2);
  REQUIRE_OK(index->Verify());
  const auto truth = Find(*index, queries.view(), {.k = 10, .exact = true});
  const auto found = Find(*index, queries.view(), {.k = 10, .ef_search = 100});
  REQUIRE(Recall(found, truth) >= 0.95);

  const TemporaryFolder folder;
  const std::string path = (folder.path() / "index").string();
  REQUIRE_OK(index->Save(path, 1));
  auto loaded = VectorIndex::Load(path, options, *runtime);
  REQUIRE_OK(loaded);
  REQUIRE_OK(loaded->index->Verify());
  REQUIRE(Find(*loaded->index, queries.view(), {.k = 10, .ef_search = 100}) == found);
  VectorIndexOptions others = options;
  others.hnsw.codes = CodeKind::kNone;
  REQUIRE(VectorIndex::Load(path, others, *runtime).status().code() ==
          StatusCode::kFailedPrecondition);
}

TEST_CASE("codes: learned anew when the vectors become others") {
  FOR_EVERY_CODE;
  const size_t dim = 96, n = 3'000;
  // First all in a small cube on four of the axes, then anywhere and far larger.
  Matrix first = Clustered(n, dim, 31), second = Clustered(n, dim, 32);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 4; j < dim; ++j) first.row(i)[j] *= 0.01f;
    for (size_t j = 0; j < dim; ++j) second.row(i)[j] *= 20;
  }
  const auto index = MakeIndex(Options(metric, codes, dim), *runtime);
  REQUIRE_OK(index->Add(Sequence(n), first.view()));
  for (size_t at = 0; at < n; at += 500) {
    REQUIRE_OK(index->Add(Sequence(500, n + at), Rows(second, at, 500)));
  }
  REQUIRE_OK(index->Verify());
  const Matrix queries = Clustered(50, dim, 33);
  Matrix large = queries;
  for (size_t i = 0; i < 50 * dim; ++i) large.data()[i] *= 20;
  const auto truth = Find(*index, large.view(), {.k = 10, .exact = true});
  // A bit for each of 96 dimensions tells neighbours within a cluster apart hardly.
  const bool coarse = codes == CodeKind::kRabitq;
  REQUIRE(Recall(Find(*index, large.view(), {.k = 10, .ef_search = coarse ? 400u : 150u}), truth) >=
          0.9);
}

TEST_CASE("codes: copies do not hide what is as near, with a filter or without") {
  const auto runtime = MakeRuntime();
  const CodeKind codes = GENERATE(CodeKind::kPca8, CodeKind::kPca4, CodeKind::kSq8);
  INFO(CodeKindName(codes));
  // As in folders of documents: 40 that stand there 30 times, nearly, of a few components alone;
  // then others, and questions that are like none of them.
  constexpr size_t dim = 96, copies = 1'200, others = 1'500;
  const Matrix centres = Clustered(40, dim, 61), noise = Clustered(copies, dim, 62);
  Matrix base(copies + others, dim);
  for (size_t i = 0; i < copies; ++i) {
    for (size_t j = 0; j < dim; ++j) {
      base.row(i)[j] = (j < 12 ? centres.row(i % 40)[j] : 0) + 0.002f * noise.row(i)[j];
    }
  }
  const Matrix rest = Clustered(others, dim, 63, 400, 7);
  std::copy_n(rest.data(), others * dim, base.row(copies).data());
  const Matrix queries = Clustered(60, dim, 64, 60, 8);
  const auto index = MakeIndex(Options(Metric::kCosine, codes, dim), *runtime);
  for (size_t first = 0; first < copies + others; first += 300) {
    REQUIRE_OK(index->Add(Sequence(300, first), Rows(base, first, 300)));
  }
  std::vector<uint64_t> allowed = Sequence(copies);  // and a third of the others
  for (uint64_t id = copies; id < copies + others; id += 3) allowed.push_back(id);
  const ListFilter filter(allowed);
  for (const IdFilter* const only :
       {static_cast<const IdFilter*>(nullptr), static_cast<const IdFilter*>(&filter)}) {
    for (const size_t k : {size_t{5}, size_t{20}}) {
      const auto truth = Find(*index, queries.view(), {.k = k, .filter = only, .exact = true});
      const auto found = Find(*index, queries.view(), {.k = k, .filter = only});
      CHECK(Recall(found, truth) >= 0.98);
    }
  }
}

TEST_CASE("codes: equal vectors, and vectors without any variance") {
  FOR_EVERY_CODE;
  const size_t n = 2'500, dim = 20;
  Matrix same(n, dim);
  for (size_t i = 0; i < n * dim; ++i) same.data()[i] = 1;
  const auto index = MakeIndex(Options(metric, codes, dim), *runtime);
  REQUIRE_OK(index->Add(Sequence(n), same.view()));
  REQUIRE_OK(index->Verify());
  REQUIRE(Find(*index, Rows(same, 0, 1), {.k = 10})[0].size() == 10);
  const Matrix others = Clustered(500, dim, 41);
  REQUIRE_OK(index->Add(Sequence(500, n), others.view()));
  const auto truth = Find(*index, Rows(others, 0, 50), {.k = 1, .exact = true});
  const auto found = Find(*index, Rows(others, 0, 50), {.k = 1, .ef_search = 100});
  REQUIRE(Recall(found, truth) >= 0.9);
}

// Codes of two vectors and what a codec makes of a query.
struct Pair {
  Pair(const NodeCodec& codec, std::span<const float> a, std::span<const float> b)
      : codes(2, codec.code_bytes() / sizeof(float)) {
    for (size_t i = 0; i < 2; ++i) {
      auto* const code = reinterpret_cast<std::byte*>(codes.row(i).data());
      codec.Encode(i == 0 ? a.data() : b.data(), code);
      pointers[i] = code;
    }
  }
  Matrix codes;
  const std::byte* pointers[2];
};

TEST_CASE("codes: estimates are near the distances") {
  const auto runtime = MakeRuntime();
  const size_t dim = 100, n = 3'000;
  const Matrix base = Clustered(n, dim, 51), queries = Clustered(20, dim, 52);
  struct Kind {
    CodeKind codes;
    double margin;  // as a share of the squared lengths
  };
  for (const Kind kind :
       {Kind{CodeKind::kSq8, 0.02}, Kind{CodeKind::kPca8, 0.02}, Kind{CodeKind::kSq4, 0.05},
        Kind{CodeKind::kPca4, 0.05}, Kind{CodeKind::kRabitq, 0.3}}) {
    for (const Metric metric : {Metric::kInnerProduct, Metric::kL2}) {
      const auto codec = NodeCodec::Train(
          base.view(), kind.codes, NodeCodec::HasAxes(kind.codes) ? 100 : 0, metric, *runtime);
      CodeQuery query;
      for (size_t q = 0; q < queries.rows(); ++q) {
        double scale = 0, dot = 0, l2 = 0, pair_dot = 0, pair_l2 = 0;
        const auto a = base.row(2 * q), b = base.row(2 * q + 1);
        const Pair pair(*codec, a, b);
        for (size_t j = 0; j < dim; ++j) {
          const double x = queries.row(q)[j];
          dot += x * a[j];
          l2 += (x - a[j]) * (x - a[j]);
          pair_dot += double{a[j]} * b[j];
          pair_l2 += (double{a[j]} - b[j]) * (double{a[j]} - b[j]);
          scale += x * x + double{a[j]} * a[j] + double{b[j]} * b[j];
        }
        float estimates[2], pairs[2];
        codec->PrepareQuery(queries.row(q).data(), query);
        codec->Distances(query, pair.pointers, 2, estimates);
        codec->PrepareNode(pair.pointers[0], query);
        codec->Distances(query, pair.pointers, 2, pairs);
        const bool is_l2 = metric == Metric::kL2;
        INFO(CodeKindName(kind.codes) << " " << MetricName(metric) << ", query " << q);
        REQUIRE(std::fabs(estimates[0] - (is_l2 ? l2 : -dot)) < kind.margin * scale);
        REQUIRE(std::fabs(pairs[1] - (is_l2 ? pair_l2 : -pair_dot)) < 2 * kind.margin * scale);
      }
    }
  }
}

TEST_CASE("codes: what a codec saved codes alike, and damaged ones are refused") {
  const auto runtime = MakeRuntime();
  const size_t dim = 80, n = 1'200;
  const Matrix base = Clustered(n, dim, 55);
  const CodeKind kind =
      GENERATE(CodeKind::kSq8, CodeKind::kPca8, CodeKind::kRabitq, CodeKind::kSq4, CodeKind::kPca4);
  const Metric metric = GENERATE(Metric::kInnerProduct, Metric::kL2);
  INFO(CodeKindName(kind) << " " << MetricName(metric));
  const auto codec = NodeCodec::Train(base.view(), kind, 0, metric, *runtime);
  std::string bytes = codec->Serialize();
  const auto parse = [&](CodeKind as, size_t as_dim) {
    return NodeCodec::Parse(std::as_bytes(std::span(bytes)), as, as_dim, metric, *runtime);
  };
  const auto check = [&] {
    const auto again = parse(kind, dim);
    REQUIRE_OK(again);
    REQUIRE((*again)->code_bytes() == codec->code_bytes());
    REQUIRE((*again)->trained_error() == codec->trained_error());
    CodeQuery first, second;
    codec->PrepareQuery(base.row(3).data(), first);
    (*again)->PrepareQuery(base.row(3).data(), second);
    for (size_t i = 0; i < 10; i += 2) {
      const Pair here(*codec, base.row(i), base.row(i + 1));
      const Pair there(**again, base.row(i), base.row(i + 1));
      float a[2], b[2];
      codec->Distances(first, here.pointers, 2, a);
      (*again)->Distances(second, there.pointers, 2, b);
      REQUIRE(a[0] == b[0]);
      REQUIRE(a[1] == b[1]);
    }
  };
  check();
  REQUIRE(parse(kind, dim)->get()->keep_ratio() == codec->keep_ratio());
  // Codecs of 8 bits were saved without a ratio once.
  if (kind == CodeKind::kSq8 || kind == CodeKind::kPca8) {
    std::memset(bytes.data() + 12, 0, sizeof(float));
    check();
  }
  REQUIRE(parse(kind, dim + 1).status().code() == StatusCode::kDataLoss);
  const std::string good = bytes;
  for (const size_t cut : {size_t{0}, size_t{10}, good.size() - 1}) {
    bytes = good.substr(0, cut);
    REQUIRE(parse(kind, dim).status().code() == StatusCode::kDataLoss);
  }
  bytes = good;
  // What is no number: the scale, the ratio, the error, the mean, and the last axis or of the mean.
  for (const size_t end : {size_t{12}, size_t{16}, size_t{24}, size_t{28}, good.size()}) {
    bytes = good;
    bytes[end - 2] = bytes[end - 1] = static_cast<char>(0xFF);
    REQUIRE(parse(kind, dim).status().code() == StatusCode::kDataLoss);
  }
  if (!NodeCodec::HasAxes(kind)) return;
  bytes = good;  // the last axis is the one before it
  bytes.replace(bytes.size() - dim * sizeof(float), dim * sizeof(float), bytes,
                bytes.size() - 2 * dim * sizeof(float), dim * sizeof(float));
  REQUIRE(parse(kind, dim).status().code() == StatusCode::kDataLoss);
}

TEST_CASE("codes: searches go on while they are learned and learned anew") {
  const auto runtime = MakeRuntime();
  const CodeKind codes = GENERATE(CodeKind::kPca8, CodeKind::kRabitq, CodeKind::kPca4);
  const size_t dim = 64, n = 6'000;
  Matrix base = Clustered(n, dim, 61);
  for (size_t i = n / 2; i < n; ++i) {
    for (float& x : base.row(i)) x *= 10;
  }
  const auto index = MakeIndex(Options(Metric::kL2, codes, dim), *runtime);
  REQUIRE_OK(index->Add(Sequence(600), Rows(base, 0, 600)));
  std::atomic<bool> stop{false};
  std::atomic<size_t> wrong{0};
  std::thread reader([&] {
    for (size_t i = 0; !stop; i = (i + 1) % 600) {
      const auto found = index->Search(Rows(base, i, 1), {.k = 3, .ef_search = 64});
      if (!found.ok() || (*found)[0].size() != 3) ++wrong;
    }
  });
  std::thread looker([&] {
    while (!stop) {
      if (index->memory_bytes() == 0) ++wrong;
    }
  });
  // Two that add: one looks at the codes which the other replaces.
  std::atomic<size_t> next{600};
  const auto add = [&] {
    for (size_t first; (first = next.fetch_add(200)) < n;) {
      const Status added = index->Add(Sequence(200, first), Rows(base, first, 200));
      if (!added.ok()) ++wrong;
    }
  };
  std::thread writer(add);
  add();
  writer.join();
  stop = true;
  reader.join();
  looker.join();
  REQUIRE(wrong == 0);
  REQUIRE_OK(index->Verify());
}

}  // namespace rag::test
