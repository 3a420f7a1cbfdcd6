// Learned sparse vectors through the engine, with a small sparse encoder of random weights: what
// counts is that documents are found by their products with the query.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "engine/search/fuse.h"
#include "engine/search/rerank.h"
#include "tests/embed/encoder_support.h"
#include "tests/engine/opened_engine.h"

namespace rag {
namespace {

using test::OpenedEngine;
using test::TemporaryFolder;
using test::TextDocument;

std::vector<std::string> Texts() {
  std::vector<std::string> texts = test::FamilyTexts();
  texts.resize(40);
  return texts;
}

struct SparseEngine {
  TemporaryFolder models;
  std::string model = test::CopyModel(models, "sparse/bert", "splade").string();
  OpenedEngine opened;

  explicit SparseEngine(const std::string& encoder = "none") : opened(encoder) {
    opened.options.sparse = model;
    opened.Open();
    const std::vector<std::string> texts = Texts();
    for (size_t i = 0; i < texts.size(); ++i) {
      REQUIRE_OK(opened.engine->AddDocument(
          "notes", TextDocument(StrCat("d", i), texts[i], {{"even", i % 2 == 0}})));
    }
  }
  Engine& engine() { return *opened.engine; }
  SearchResponse Search(const SearchRequest& request) {
    Result<SearchResponse> response = engine().Search("notes", request);
    REQUIRE_OK(response);
    return std::move(response).value();
  }
};

SearchRequest Request(SearchMode mode, size_t k = 10) {
  SearchRequest request;
  request.query = Texts().front();  // so that its words are found too
  request.mode = mode;
  request.k = k;
  return request;
}

TEST_CASE("a sparse search ranks by the products of the encoder's vectors") {
  SparseEngine sparse;
  const SearchResponse found = sparse.Search(Request(SearchMode::kSparse, 5));
  CHECK(found.encode_ms > 0);
  REQUIRE(found.hits.size() == 5);

  const auto encoder = SparseEncoder::Load(sparse.model, *sparse.opened.runtime);
  REQUIRE_OK(encoder);
  const auto encode = [&](std::string_view text) {
    Result<SparseEmbeddings> encoded = (*encoder)->Encode({&text, 1}, TextRole::kQuery);
    REQUIRE_OK(encoded);
    return encoded->vectors.front();
  };
  const SparseVector query = encode(Request(SearchMode::kSparse).query);
  double least_found = found.hits.back().score;
  std::map<std::string, double> hits;
  for (const Hit& hit : found.hits) {
    hits[hit.document] = hit.score;
    const double product = DotProduct(query, encode(RerankText(hit)));
    CHECK(hit.score == Approx(product).epsilon(1.0 / 256));
  }
  // None that was left out has a larger product.
  const SearchResponse all = sparse.Search(Request(SearchMode::kSparse, 100));
  REQUIRE(all.hits.size() > found.hits.size());
  for (const Hit& hit : all.hits) {
    if (hits.contains(hit.document)) continue;
    CHECK(hit.score <= least_found);
    CHECK(DotProduct(query, encode(RerankText(hit))) <= least_found * (1 + 1.0 / 256));
  }
  SearchRequest filtered = Request(SearchMode::kSparse, 100);
  filtered.filter = "even = true";
  const SearchResponse even = sparse.Search(filtered);
  REQUIRE(!even.hits.empty());
  for (const Hit& hit : even.hits) {
    CHECK(hit.metadata.Find("even")->as_bool());
  }
}

TEST_CASE("hybrid search fuses the sparse list with the others") {
  const test::EncoderFolder dense_model("bert");
  SparseEngine sparse(dense_model.path().string());
  std::vector<std::vector<Neighbor>> found;
  for (const SearchMode mode : {SearchMode::kDense, SearchMode::kLexical, SearchMode::kSparse}) {
    std::vector<Neighbor> list;
    for (const Hit& hit : sparse.Search(Request(mode, 100)).hits) list.push_back({hit.chunk_id, 0});
    found.push_back(std::move(list));
  }
  SearchRequest request = Request(SearchMode::kHybrid);
  request.dense_weight = 0.5;
  request.lexical_weight = 2;
  request.sparse_weight = 3;
  const RankedList lists[] = {{found[0], 0.5}, {found[1], 2}, {found[2], 3}};
  const std::vector<RankedChunk> fused = FuseReciprocalRanks(lists, request.rrf_k, request.k);
  const SearchResponse hybrid = sparse.Search(request);
  REQUIRE(hybrid.hits.size() == fused.size());
  for (size_t i = 0; i < fused.size(); ++i) {
    CHECK(hybrid.hits[i].chunk_id == fused[i].id);
    CHECK(hybrid.hits[i].score == Approx(fused[i].score));
  }
  request.sparse_weight = -1;
  CHECK(sparse.engine().Search("notes", request).status().code() == StatusCode::kInvalidArgument);
}

TEST_CASE("a collection's sparse encoder is the one it was made with") {
  SparseEngine sparse;
  const Result<CollectionInfo> info = sparse.engine().GetCollection("notes");
  REQUIRE_OK(info);
  CHECK(info->config.sparse_fingerprint.starts_with("splade-bert-"));
  const Result<std::optional<SparseEncoderInfo>> model = sparse.engine().GetSparseEncoderInfo();
  REQUIRE_OK(model);
  CHECK((*model)->fingerprint == info->config.sparse_fingerprint);

  // Without one the words are left, and documents may not be put beside those with vectors.
  sparse.opened.options.sparse = "";
  sparse.opened.Open();
  CHECK(!sparse.Search(Request(SearchMode::kHybrid)).hits.empty());
  const auto refused = [&] {
    const Status status = sparse.engine().AddDocument("notes", TextDocument("n", "x")).status();
    CHECK(status.code() == StatusCode::kFailedPrecondition);
    CHECK_THAT(status.message(), Catch::Contains("sparse encoder '" + sparse.model));
  };
  refused();
  Status searched = sparse.engine().Search("notes", Request(SearchMode::kSparse)).status();
  CHECK(searched.code() == StatusCode::kFailedPrecondition);

  // The same files but for a setting of the pooling are another model.
  std::filesystem::copy(sparse.model, sparse.models.path() / "other",
                        std::filesystem::copy_options::recursive);
  const auto config = sparse.models.path() / "other/1_SpladePooling/config.json";
  std::string text = test::ReadAll(config);
  text.replace(text.find("\"max\""), 5, "\"sum\"");
  test::WriteText(config, text);
  sparse.opened.options.sparse = (sparse.models.path() / "other").string();
  sparse.opened.Open();
  refused();
  searched = sparse.engine().Search("notes", Request(SearchMode::kSparse)).status();
  CHECK(searched.code() == StatusCode::kFailedPrecondition);
  // A new collection is made with it; one without sparse vectors has none to search.
  REQUIRE_OK(sparse.engine().AddDocument("others", TextDocument("n", "some text")));
  CHECK(sparse.engine().Search("others", Request(SearchMode::kSparse)).status().ok());
  sparse.opened.options.sparse = "";
  sparse.opened.Open();
  REQUIRE_OK(sparse.engine().AddDocument("plain", TextDocument("n", "some text")));
  sparse.opened.options.sparse = sparse.model;
  sparse.opened.Open();
  searched = sparse.engine().Search("plain", Request(SearchMode::kSparse)).status();
  CHECK(searched.code() == StatusCode::kFailedPrecondition);
  CHECK_THAT(searched.message(), Catch::Contains("'plain' was made without a sparse encoder"));
  REQUIRE_OK(sparse.engine().AddDocument("plain", TextDocument("m", "more text")));
}

TEST_CASE("sparse search is evaluated in a collection of its own kind") {
  SparseEngine sparse;
  const TemporaryFolder data;
  std::string corpus, queries, qrels = "query-id\tcorpus-id\tscore\n";
  const std::vector<std::string> texts = Texts();
  for (size_t i = 0; i < texts.size(); ++i) {
    const Value text = texts[i];
    corpus += StrCat("{\"_id\": \"", i, "\", \"text\": ", ToJson(text), "}\n");
    queries += StrCat("{\"_id\": \"q", i, "\", \"text\": ", ToJson(text), "}\n");
    qrels += StrCat("q", i, "\t", i, "\t1\n");
  }
  test::WriteText(data.path() / "corpus.jsonl", corpus);
  test::WriteText(data.path() / "queries.jsonl", queries);
  test::WriteText(data.path() / "qrels.tsv", qrels);
  EvaluateRequest request;
  request.folder = data.path().string();
  request.cutoffs = {10};
  request.search.mode = SearchMode::kSparse;
  const Result<EvaluateReport> report = sparse.engine().Evaluate("measured", request);
  REQUIRE_OK(report);
  CHECK(report->documents == texts.size());
  // Nothing is nearer to a text than itself, by far the most of the time even with such weights.
  CHECK(report->metrics.at("recall@10") > 0.5);
  const Result<CollectionInfo> info = sparse.engine().GetCollection("measured");
  REQUIRE_OK(info);
  CHECK(info->config.vectors.dim == 0);
  CHECK(info->config.sparse_dim > 0);

  request.search.mode = SearchMode::kLexical;
  REQUIRE_OK(sparse.engine().Evaluate("words", request));
  request.search.mode = SearchMode::kSparse;
  const Status status = sparse.engine().Evaluate("words", request).status();
  CHECK(status.code() == StatusCode::kFailedPrecondition);
  CHECK_THAT(status.message(), Catch::Contains("without sparse vectors"));
}

}  // namespace
}  // namespace rag
