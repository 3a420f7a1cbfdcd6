// Token vectors that a collection keeps: reranking reads them instead of the passages.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>

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
  const Result<SearchResponse> read = fresh.engine->Search("notes", fresh.Request());
  REQUIRE_OK(found);
  REQUIRE_OK(read);
  REQUIRE(found->hits.size() == read->hits.size());
  REQUIRE(!found->hits.empty());
  std::map<std::string, double> scores;
  for (const Hit& hit : read->hits) scores[hit.text] = hit.score;
  size_t compared = 0;
  bool differs = false;
  for (const Hit& hit : found->hits) {
    // Chunks are no longer than the model reads where it makes token vectors: long passages are cut
    // elsewhere. 24 query tokens, each off by sqrt(16) / 254 of an element that is at most 1.
    if (scores.contains(hit.text)) {
      CHECK(std::abs(hit.score - scores[hit.text]) <= 24 * 4.0 / 254);
      differs = differs || hit.score != scores[hit.text];
      ++compared;
    }
  }
  CHECK(compared >= 3);
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
