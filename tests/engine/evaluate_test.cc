#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>

#include "engine/evaluate/beir.h"
#include "engine/evaluate/metrics.h"
#include "lib/base/value.h"
#include "tests/engine/opened_engine.h"

namespace rag {
namespace {

using test::Golden;
using test::OpenedEngine;
using test::TemporaryFolder;

void Write(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

// A folder in BEIR's layout about three animals.
void WriteAnimals(const std::string& folder) {
  Write(folder + "/corpus.jsonl",
        R"({"_id": "cat", "title": "Cats", "text": "The cat sleeps most of the day."}
{"_id": "dog", "title": "Dogs", "text": "A dog guards the house and barks at strangers.", "year": 2020}
{"_id": "bee", "title": "", "text": "Bees make honey from the nectar of flowers."}
)");
  Write(folder + "/queries.jsonl",
        "{\"_id\": \"q1\", \"text\": \"which animal barks at strangers\"}\n"
        "{\"_id\": \"q2\", \"text\": \"who makes honey\"}\n"
        "{\"_id\": \"unjudged\", \"text\": \"nobody knows\"}\n");
  Write(folder + "/qrels.tsv", "query-id\tcorpus-id\tscore\nq1\tdog\t1\nq2\tbee\t2\nq2\tcat\t0\n");
}

TEST_CASE("metrics equal trec_eval's") {
  const Result<Value> golden = ParseJson(test::ReadAll(Golden("metrics/trec_eval.json")));
  REQUIRE_OK(golden);
  size_t compared = 0;
  for (const auto& [query, expected] : golden->Find("expected")->as_object()) {
    std::vector<std::string> ranked;
    for (const Value& key : golden->Find("rankings")->Find(query)->as_array()) {
      ranked.push_back(key.as_string());
    }
    Judgements judgements;
    for (const auto& [document, score] : golden->Find("judgements")->Find(query)->as_object()) {
      judgements[document] = static_cast<int>(score.as_int());
    }
    for (const auto& [cutoff, values] : expected.as_object()) {
      INFO(query << " at " << cutoff);
      const QueryMetrics metrics = MeasureQuery(ranked, judgements, std::stoul(cutoff));
      CHECK(metrics.ndcg == Approx(values.Find("ndcg")->as_double()).margin(1e-9));
      CHECK(metrics.recall == Approx(values.Find("recall")->as_double()).margin(1e-9));
      CHECK(metrics.reciprocal_rank ==
            Approx(values.Find("reciprocal_rank")->as_double()).margin(1e-9));
      ++compared;
    }
  }
  CHECK(compared == 160);
}

TEST_CASE("means are over all judged queries, also those that found nothing") {
  MetricMeans means({10});
  means.Add(std::vector<std::string>{"a"}, {{"a", 1}});
  means.Add(std::vector<std::string>{}, {{"a", 1}});
  CHECK(means.queries() == 2);
  CHECK(means.Means().at("ndcg@10") == Approx(0.5));
  CHECK(means.Means().at("mrr@10") == Approx(0.5));
  CHECK(means.Means().at("recall@10") == Approx(0.5));
}

TEST_CASE("only judged queries are read") {
  const TemporaryFolder folder;
  WriteAnimals(folder.path().string());
  const Result<std::vector<BeirQuery>> queries = ReadBeirQueries(folder.path().string());
  REQUIRE_OK(queries);
  REQUIRE(queries->size() == 2);
  CHECK((*queries)[0].id == "q1");
  CHECK((*queries)[1].judgements.at("bee") == 2);
  CHECK((*queries)[1].judgements.at("cat") == 0);
}

TEST_CASE("errors in BEIR files name file and line") {
  const TemporaryFolder folder;
  const std::string path = folder.path().string();
  const auto message = [&] { return ReadBeirQueries(path).status().message(); };
  CHECK(ReadBeirQueries(path).status().code() == StatusCode::kNotFound);
  WriteAnimals(path);
  Write(path + "/qrels.tsv", "query-id\tcorpus-id\tscore\nq1\tdog\n");
  CHECK_THAT(message(), Catch::Contains("qrels.tsv:2") && Catch::Contains("3 fields"));
  Write(path + "/qrels.tsv", "q1\tdog\tmany\n");
  CHECK_THAT(message(), Catch::Contains("qrels.tsv:1") && Catch::Contains("'many'"));
  Write(path + "/qrels.tsv", "q1\tdog\t1\nq7\tdog\t1\n");
  CHECK_THAT(message(), Catch::Contains("qrels.tsv:2") && Catch::Contains("'q7'"));
  Write(path + "/qrels.tsv", "q1\tdog\t1\n");
  Write(path + "/queries.jsonl", "{\"_id\": \"q1\", \"text\": \"x\"}\n{\"_id\": \"q2\"");
  CHECK_THAT(message(), Catch::Contains("queries.jsonl:2"));
  Write(path + "/queries.jsonl", "{\"_id\": \"q1\", \"text\": 5}\n");
  CHECK_THAT(message(), Catch::Contains("queries.jsonl:1") && Catch::Contains("text"));
}

TEST_CASE("a damaged corpus line ends the corpus with its place") {
  const TemporaryFolder folder;
  for (const auto& [line, complaint] :
       {std::pair{"{\"_id\": \"b\", \"text\"", "corpus.jsonl:3"},
        std::pair{"{\"_id\": \"a\", \"text\": \"x\"}", "'a' occurs a second time"},
        std::pair{"{\"text\": \"x\"}", "no '_id'"}}) {
    Write(folder.file("corpus.jsonl"), StrCat("{\"_id\": \"a\", \"text\": \"x\"}\n\n", line, "\n"));
    std::unordered_set<std::string> keys;
    const Result<std::unique_ptr<BeirCorpus>> corpus =
        BeirCorpus::Open(folder.path().string(), &keys, nullptr);
    REQUIRE_OK(corpus);
    while ((*corpus)->Next().has_value()) {
    }
    CHECK_THAT((*corpus)->error().message(),
               Catch::Contains(complaint) && Catch::Contains("corpus.jsonl:3"));
  }
}

TEST_CASE("evaluation by words alone needs no encoder") {
  OpenedEngine opened;
  const TemporaryFolder& folder = opened.folder;
  WriteAnimals(folder.path().string());
  EvaluateRequest request;
  request.folder = folder.path().string();
  request.search.mode = SearchMode::kLexical;
  const Result<EvaluateReport> report = opened.engine->Evaluate("animals", request);
  REQUIRE_OK(report);
  CHECK(report->queries == 2);
  CHECK(report->documents == 3);
  CHECK(report->metrics.at("ndcg@10") == Approx(1.0));
  CHECK(report->metrics.at("recall@100") == Approx(1.0));

  SECTION("again, over the same collection, with a document gone from the corpus") {
    Write(folder.file("corpus.jsonl"), "{\"_id\": \"dog\", \"text\": \"A dog barks.\"}\n");
    const Result<EvaluateReport> again = opened.engine->Evaluate("animals", request);
    REQUIRE_OK(again);
    CHECK(again->documents == 1);
    CHECK(again->metrics.at("recall@10") == Approx(0.5));
    CHECK(opened.engine->GetCollection("animals")->stats.documents == 1);
  }
  SECTION("a collection of documents is not touched") {
    Document document;
    document.key = "mine";
    document.text = "Something of my own.";
    REQUIRE_OK(opened.engine->AddDocument("notes", document));
    CHECK(opened.engine->Evaluate("notes", request).status().code() ==
          StatusCode::kFailedPrecondition);
    CHECK(opened.engine->GetCollection("notes")->stats.documents == 1);
  }
  SECTION("dense is refused clearly") {
    request.search.mode = SearchMode::kDense;
    CHECK(opened.engine->Evaluate("animals", request).status().code() ==
          StatusCode::kFailedPrecondition);
  }
  SECTION("a cutoff of zero and a wrong filter are refused before the corpus is indexed") {
    request.cutoffs = {0};
    CHECK(opened.engine->Evaluate("others", request).status().code() ==
          StatusCode::kInvalidArgument);
    request.cutoffs = {10};
    request.search.filter = "year >";
    CHECK(opened.engine->Evaluate("others", request).status().code() ==
          StatusCode::kInvalidArgument);
    CHECK(opened.engine->GetCollection("others").status().code() == StatusCode::kNotFound);
  }
}

TEST_CASE("the search's settings reach every query of an evaluation") {
  if (!test::DefaultEncoderFolder().has_value()) RAG_SKIP("the default model is not set up");
  OpenedEngine opened(kDefaultEncoder);
  const TemporaryFolder& folder = opened.folder;
  WriteAnimals(folder.path().string());
  // By words, the first is the insurance; by meaning, the cat.
  Write(folder.file("corpus.jsonl"),
        "{\"_id\": \"cat\", \"text\": \"The cat sleeps most of the day.\"}\n"
        "{\"_id\": \"form\", \"text\": \"How to fill in forms about insurance.\"}\n");
  Write(folder.file("queries.jsonl"), "{\"_id\": \"q\", \"text\": \"about a feline's slumber\"}\n");
  Write(folder.file("qrels.tsv"), "q\tcat\t1\n");
  EvaluateRequest request;
  request.folder = folder.path().string();
  const auto first = [&](double dense, double lexical) {
    request.search.dense_weight = dense;
    request.search.lexical_weight = lexical;
    request.cutoffs = {1};
    const Result<EvaluateReport> report = opened.engine->Evaluate("animals", request);
    REQUIRE_OK(report);
    return report->metrics.at("mrr@1");
  };
  CHECK(first(1, 0) == 1);
  CHECK(first(0, 1) == 0);
  request.search.dense_weight = -1;
  const Result<EvaluateReport> refused = opened.engine->Evaluate("animals", request);
  CHECK(refused.status().code() == StatusCode::kInvalidArgument);
  CHECK_THAT(refused.status().message(), Catch::Contains("dense_weight -1"));
}

// The published figures: BM25 0.665 to 0.679 (Anserini, BEIR).
TEST_CASE("BM25 on SciFact reaches the published figure") {
  const auto data = test::SharedData("ir-scifact");
  if (!data.has_value()) RAG_SKIP("no shared data set ir-scifact");
  OpenedEngine opened;
  opened.options.store.sync_writes = false;
  opened.Open();
  EvaluateRequest request;
  request.folder = data->string();
  request.search.mode = SearchMode::kLexical;
  const Result<EvaluateReport> report = opened.engine->Evaluate("scifact", request);
  REQUIRE_OK(report);
  CHECK(report->queries == 300);
  CHECK(report->documents == 5183);
  CHECK(report->metrics.at("ndcg@10") >= 0.65);
}

}  // namespace
}  // namespace rag
