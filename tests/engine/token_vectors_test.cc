// Token vectors that a collection keeps: reranking reads them instead of the passages.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "embed/late_interaction.h"
#include "engine/search/rerank.h"
#include "tests/embed/encoder_support.h"
#include "tests/engine/opened_engine.h"

namespace rag {
namespace {

using test::Golden;
using test::OpenedEngine;
using test::TextDocument;

std::vector<std::string> Passages() {
  const Result<Value> json = ParseJson(test::ReadAll(Golden("rerankers/pairs.json")));
  REQUIRE_OK(json);
  std::vector<std::string> texts;
  for (const Value& text : json->Find("passages")->as_array()) texts.push_back(text.as_string());
  return texts;
}

struct TokenEngine : OpenedEngine {
  explicit TokenEngine(bool token_vectors, const std::string& model = "pylate") {
    options.reranker = Golden("late_interaction/" + model);
    Open();
    CollectionOptions create;
    create.token_vectors = token_vectors;
    size_t number = 0;
    for (const std::string& passage : Passages()) {
      REQUIRE_OK(
          engine->AddDocument("notes", TextDocument(StrCat("d", number++), passage), create));
    }
  }
  SearchRequest Request() const {
    SearchRequest request;
    request.query = "which mechanism is required for an identity check";
    request.mode = SearchMode::kLexical;
    request.k = 8;
    request.rerank_top = 50;
    return request;
  }
};

TEST_CASE("kept token vectors give the scores that reading the passages gives, within rounding") {
  TokenEngine kept(true), fresh(false);
  const Result<SearchResponse> found = kept.engine->Search("notes", kept.Request());
  REQUIRE_OK(found);
  REQUIRE(found->hits.size() >= 3);
  const auto runtime = test::MakeRuntime();
  const auto model = LateInteraction::Load(kept.options.reranker, *runtime, Precision::kF32);
  REQUIRE_OK(model);
  std::vector<std::string> texts;
  for (const Hit& hit : found->hits) texts.push_back(RerankText(hit));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  const auto read = (*model)->Score(kept.Request().query, views);
  REQUIRE_OK(read);
  bool differs = false;
  for (size_t i = 0; i < views.size(); ++i) {
    const double score = found->hits[i].score;
    // 24 query tokens, each off by sqrt(16) / 254 of an element that is at most 1.
    CHECK(std::abs(score - double{read->scores[i]}) <= 24 * 4.0 / 254);
    differs = differs || static_cast<float>(score) != read->scores[i];
  }
  // They were read: the model would have given the very same numbers.
  CHECK(differs);
  CHECK(kept.engine->GetCollection("notes")->config.attachments);
  CHECK_FALSE(fresh.engine->GetCollection("notes")->config.attachments);
  REQUIRE_OK(kept.engine->RemoveDocument("notes", "d0"));
  REQUIRE_OK(kept.engine->AddDocument("notes", TextDocument("d1", "the right to another life")));
  const Result<VerifyReport> report = kept.engine->Verify("notes");
  REQUIRE_OK(report);
  CHECK(report->problems.empty());
  const Result<SearchResponse> left = kept.engine->Search("notes", kept.Request());
  REQUIRE_OK(left);
  for (const Hit& hit : left->hits) {
    CHECK(hit.document != "d0");
  }
}

TEST_CASE("a collection with token vectors takes documents with its reranker alone") {
  TokenEngine kept(true);
  for (const std::string& other : {std::string(), Golden("late_interaction/stanford").string()}) {
    kept.options.reranker = other;
    kept.Open();
    const Status status = kept.engine->AddDocument("notes", TextDocument("n", "x")).status();
    CHECK(status.code() == StatusCode::kFailedPrecondition);
    CHECK_THAT(status.message(), Catch::Contains("pylate"));
  }
  // Another one reranks all the same, from the passages.
  const Result<SearchResponse> found = kept.engine->Search("notes", kept.Request());
  REQUIRE_OK(found);
  CHECK(!found->hits.empty());
  // One that makes none cannot keep them.
  const test::TemporaryFolder models;
  OpenedEngine cross;
  CollectionOptions create;
  create.token_vectors = true;
  CHECK(cross.engine->CreateCollection("c", create).code() == StatusCode::kFailedPrecondition);
  cross.options.reranker = test::CopyModel(models, "rerankers/bert", "cross").string();
  cross.Open();
  CHECK(cross.engine->CreateCollection("c", create).code() == StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace rag
