// Reranking in search, ask and evaluation, with a small cross-encoder of random weights: what
// counts is that its order decides.
#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>

#include "engine/search/rerank.h"
#include "tests/engine/opened_engine.h"

namespace rag {
namespace {

using test::Golden;
using test::OpenedEngine;
using test::TemporaryFolder;
using test::TextDocument;

std::string MakeReranker(const TemporaryFolder& folder) {
  return test::CopyModel(folder, "rerankers/bert", "reranker").string();
}

// An engine with a reranker and twelve documents that all hold the word "cat".
struct Reranked {
  TemporaryFolder models;
  OpenedEngine opened;

  Reranked() {
    opened.options.reranker = MakeReranker(models);
    opened.Open();
    std::string words = "cat";
    for (int i = 0; i < 12; ++i) {
      words += StrCat(" the right to ", i * 7, " of article ", i);
      Document document = TextDocument(StrCat("d", i), words);
      document.title = StrCat("Title ", i);
      REQUIRE_OK(opened.engine->AddDocument("notes", document));
    }
  }

  Engine& engine() { return *opened.engine; }
  SearchRequest Request(size_t k, size_t rerank_top) const {
    SearchRequest request;
    request.query = "cat right";
    request.mode = SearchMode::kLexical;
    request.k = k;
    request.rerank_top = rerank_top;
    return request;
  }
};

TEST_CASE("a reranked search gives the best of the candidates by the reranker's score") {
  Reranked reranked;
  const Result<SearchResponse> plain = reranked.engine().Search("notes", reranked.Request(8, 0));
  REQUIRE_OK(plain);
  CHECK(plain->rerank_ms == 0);
  REQUIRE(plain->hits.size() == 8);
  std::vector<std::string> texts;
  for (const Hit& hit : plain->hits) {
    texts.push_back(RerankText(hit));
    CHECK(texts.back().starts_with(hit.title));
  }
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  const Result<RerankScores> scores = reranked.engine().Rerank("cat right", views);
  REQUIRE_OK(scores);
  std::vector<std::pair<float, std::string>> expected;
  for (size_t i = 0; i < views.size(); ++i) {
    expected.emplace_back(-scores->scores[i], plain->hits[i].document);
  }
  std::stable_sort(expected.begin(), expected.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });

  // Eight candidates, of which the best three are asked for.
  const Result<SearchResponse> found = reranked.engine().Search("notes", reranked.Request(3, 8));
  REQUIRE_OK(found);
  CHECK(found->rerank_ms > 0);
  REQUIRE(found->hits.size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    CHECK(found->hits[i].rank == i + 1);
    CHECK(found->hits[i].document == expected[i].second);
    CHECK(found->hits[i].score == -expected[i].first);
  }
  CHECK(found->hits[0].document != plain->hits[0].document);
  // Never fewer candidates than hits.
  const Result<SearchResponse> all = reranked.engine().Search("notes", reranked.Request(8, 2));
  REQUIRE_OK(all);
  REQUIRE(all->hits.size() == 8);
  for (size_t i = 0; i < 8; ++i) CHECK(all->hits[i].document == expected[i].second);
}

TEST_CASE("an answer's sources are reranked") {
  Reranked reranked;
  AskRequest ask;
  ask.search = reranked.Request(2, 12);
  const Result<SearchResponse> found = reranked.engine().Search("notes", ask.search);
  REQUIRE_OK(found);
  const Result<Answer> answer = reranked.engine().Ask("notes", ask);
  REQUIRE_OK(answer);
  REQUIRE(answer->sources.size() == 2);
  for (size_t i = 0; i < 2; ++i) CHECK(answer->sources[i].document == found->hits[i].document);
}

TEST_CASE("evaluation measures the reranked order") {
  Reranked reranked;
  const TemporaryFolder data;
  std::ofstream corpus(data.file("corpus.jsonl"));
  for (int i = 0; i < 6; ++i) {
    corpus << "{\"_id\": \"" << i << "\", \"title\": \"\", \"text\": \"cat "
           << std::string(static_cast<size_t>(i), 'x') << " right " << i * i << "\"}\n";
  }
  corpus.close();
  std::ofstream(data.file("queries.jsonl")) << "{\"_id\": \"q\", \"text\": \"cat right\"}\n";
  std::ofstream(data.file("qrels.tsv")) << "query-id\tcorpus-id\tscore\nq\t3\t1\n";
  EvaluateRequest request{.folder = data.path().string(), .cutoffs = {10}};
  request.search = reranked.Request(0, 6);
  const Result<EvaluateReport> report = reranked.engine().Evaluate("eval-lexical", request);
  REQUIRE_OK(report);
  SearchRequest search = reranked.Request(6, 6);
  const Result<SearchResponse> found = reranked.engine().Search("eval-lexical", search);
  REQUIRE_OK(found);
  REQUIRE(found->hits.size() == 6);
  const auto at = std::find_if(found->hits.begin(), found->hits.end(),
                               [](const Hit& hit) { return hit.document == "3"; });
  REQUIRE(at != found->hits.end());
  CHECK(report->metrics.at("mrr@10") == Approx(1.0 / static_cast<double>(at->rank)));
  // Only the first is reranked, so it stays where it was.
  search.rerank_top = 0;
  const Result<SearchResponse> plain = reranked.engine().Search("eval-lexical", search);
  REQUIRE_OK(plain);
  request.search.rerank_top = 1;
  const Result<EvaluateReport> first = reranked.engine().Evaluate("eval-lexical", request);
  REQUIRE_OK(first);
  const auto plain_at = std::find_if(plain->hits.begin(), plain->hits.end(),
                                     [](const Hit& hit) { return hit.document == "3"; });
  CHECK(first->metrics.at("mrr@10") == Approx(1.0 / static_cast<double>(plain_at->rank)));
}

TEST_CASE("evaluation reranks as many as it was told to, however few it measures") {
  Reranked reranked;
  const TemporaryFolder data;
  std::ofstream corpus(data.file("corpus.jsonl"));
  for (int i = 0; i < 12; ++i) {
    corpus << "{\"_id\": \"" << i << "\", \"title\": \"\", \"text\": \"cat "
           << std::string(static_cast<size_t>(i), 'x') << " right " << i * i << "\"}\n";
  }
  corpus.close();
  std::ofstream(data.file("queries.jsonl")) << "{\"_id\": \"q\", \"text\": \"cat right\"}\n";
  std::ofstream(data.file("qrels.tsv")) << "query-id\tcorpus-id\tscore\nq\t3\t1\n";
  EvaluateRequest request{.folder = data.path().string(), .cutoffs = {1}};
  request.search = reranked.Request(0, 12);
  REQUIRE_OK(reranked.engine().Evaluate("eval-lexical", request));
  const Result<SearchResponse> plain =
      reranked.engine().Search("eval-lexical", reranked.Request(2, 0));
  const Result<SearchResponse> best =
      reranked.engine().Search("eval-lexical", reranked.Request(1, 12));
  REQUIRE_OK(plain);
  REQUIRE_OK(best);
  const std::string& relevant = best->hits.front().document;
  for (const Hit& hit : plain->hits) REQUIRE(hit.document != relevant);
  std::ofstream(data.file("qrels.tsv")) << "query-id\tcorpus-id\tscore\nq\t" << relevant << "\t1\n";
  const Result<EvaluateReport> report = reranked.engine().Evaluate("eval-lexical", request);
  REQUIRE_OK(report);
  CHECK(report->metrics.at("mrr@1") == 1.0);
}

TEST_CASE("a late interaction folder reranks a search") {
  OpenedEngine opened;
  opened.options.reranker = Golden("late_interaction/pylate");
  opened.Open();
  for (int i = 0; i < 6; ++i) {
    REQUIRE_OK(opened.engine->AddDocument(
        "notes", TextDocument(StrCat("d", i), StrCat("cat ", i * i, " rights of article ", i))));
  }
  SearchRequest request;
  request.query = "cat article";
  request.mode = SearchMode::kLexical;
  request.k = 6;
  request.rerank_top = 6;
  const Result<SearchResponse> found = opened.engine->Search("notes", request);
  REQUIRE_OK(found);
  REQUIRE(found->hits.size() == 6);
  std::vector<std::string> texts;
  for (const Hit& hit : found->hits) texts.push_back(RerankText(hit));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  const Result<RerankScores> scores = opened.engine->Rerank(request.query, views);
  REQUIRE_OK(scores);
  for (size_t i = 0; i < 6; ++i) {
    CHECK(found->hits[i].score == scores->scores[i]);
    CHECK((i == 0 || scores->scores[i - 1] >= scores->scores[i]));
  }
  const Result<std::optional<RerankerInfo>> info = opened.engine->GetRerankerInfo();
  REQUIRE_OK(info);
  CHECK((*info)->late_interaction);
}

TEST_CASE("a cancelled search does not rerank") {
  Reranked reranked;
  CancelToken cancel;
  cancel.Cancel();
  const SearchRequest request = reranked.Request(3, 8);
  CHECK(reranked.engine().Search("notes", request, &cancel).status().code() ==
        StatusCode::kCancelled);
  AskRequest ask;
  ask.search = request;
  CHECK(reranked.engine().Ask("notes", ask, nullptr, &cancel).status().code() ==
        StatusCode::kCancelled);
}

TEST_CASE("passages that are not UTF-8 are refused") {
  TemporaryFolder models;
  OpenedEngine opened;
  opened.options.reranker = MakeReranker(models);
  opened.Open();
  const std::vector<std::string_view> passages = {"a cat", "a c\xe4t"};
  CHECK(opened.engine->Rerank("cat", passages).status().message() ==
        "passages[1] is not UTF-8 at byte 3");
  CHECK(opened.engine->Rerank("c\xe4t", {}).status().message() ==
        "the query is not UTF-8 at byte 1");
}

TEST_CASE("reranking that cannot be done says why") {
  OpenedEngine opened;
  REQUIRE_OK(opened.engine->AddDocument("notes", TextDocument("k", "a cat")));
  SearchRequest request;
  request.query = "cat";
  request.mode = SearchMode::kLexical;
  request.rerank_top = 5;
  const Status none = opened.engine->Search("notes", request).status();
  CHECK(none.code() == StatusCode::kFailedPrecondition);
  CHECK_THAT(none.message(), Catch::Contains("no reranker"));
  CHECK(opened.engine->GetRerankerInfo()->has_value() == false);
  CHECK(opened.engine->Rerank("q", {}).status().code() == StatusCode::kFailedPrecondition);
  request.rerank_top = 1'001;
  CHECK_THAT(opened.engine->Search("notes", request).status().message(),
             Catch::Contains("rerank_top 1001"));
  request.rerank_top = 5;
  request.k = 5'000;
  CHECK_THAT(opened.engine->Search("notes", request).status().message(), Catch::Contains("k 5000"));

  const TemporaryFolder models;
  opened.options.reranker = MakeReranker(models);
  std::filesystem::remove(models.path() / "reranker" / "model.safetensors");
  opened.Open();
  request.k = 5;
  const Status broken = opened.engine->Search("notes", request).status();
  CHECK(broken.code() == StatusCode::kNotFound);
  CHECK_THAT(broken.message(), Catch::Contains("reranker"));
}

}  // namespace
}  // namespace rag
