#include <catch2/catch.hpp>
#include <cmath>

#include "engine/search/fuse.h"
#include "engine/search/rank.h"
#include "tests/embed/encoder_support.h"
#include "tests/engine/opened_engine.h"

namespace rag {
namespace {

using test::TextDocument;

struct Opened : test::OpenedEngine {
  using OpenedEngine::OpenedEngine;

  void AddFacts() {
    REQUIRE_OK(engine->AddDocument(
        "facts", TextDocument("cats", "A cat sleeps for most of the day and hunts at dusk.",
                              {{"year", 2019}, {"lang", "en"}})));
    REQUIRE_OK(engine->AddDocument(
        "facts", TextDocument("keys", "The signing key is rotated every ninety days.",
                              {{"year", 2023}, {"lang", "en"}, {"title", "Operations"}})));
    REQUIRE_OK(engine->AddDocument(
        "facts", TextDocument("seoul", "서울은 대한민국의 수도이자 가장 큰 도시이다.",
                              {{"year", 2021}, {"lang", "ko"}})));
  }

  SearchResponse Search(const std::string& query, SearchMode mode, const std::string& filter = "") {
    SearchRequest request;
    request.query = query;
    request.mode = mode;
    request.filter = filter;
    Result<SearchResponse> response = engine->Search("facts", request);
    REQUIRE_OK(response);
    return std::move(response).value();
  }
};

TEST_CASE("reciprocal ranks are fused as the paper says") {
  const std::vector<Neighbor> dense = {{1, 0.9f}, {2, 0.8f}, {3, 0.7f}};
  const std::vector<Neighbor> lexical = {{3, 12.f}, {4, 11.f}, {1, 5.f}};
  const RankedList lists[] = {{dense, 1.0}, {lexical, 1.0}};
  const std::vector<RankedChunk> fused = FuseReciprocalRanks(lists, 60, 10);
  REQUIRE(fused.size() == 4);
  // 1 and 3 stand first and third once each: a tie, which the lower id wins.
  CHECK(fused[0].id == 1);
  CHECK(fused[1].id == 3);
  CHECK(fused[0].score == Approx(1.0 / 61 + 1.0 / 63));
  CHECK(fused[1].score == Approx(1.0 / 61 + 1.0 / 63));
  CHECK(fused[2].id == 2);
  CHECK(fused[3].id == 4);
  CHECK(fused[2].score == Approx(1.0 / 62));

  SECTION("weights") {
    const RankedList weighted[] = {{dense, 0.5}, {lexical, 2.0}};
    const std::vector<RankedChunk> best = FuseReciprocalRanks(weighted, 60, 1);
    REQUIRE(best.size() == 1);
    CHECK(best[0].id == 3);
    CHECK(best[0].score == Approx(0.5 / 63 + 2.0 / 61));
  }
  SECTION("nothing") { CHECK(FuseReciprocalRanks({}, 60, 10).empty()); }
}

TEST_CASE("a search request is bounded") {
  SearchRequest request;
  request.query = "x";
  CHECK(CheckSearchRequest(request).ok());
  request.k = 0;
  CHECK_THAT(CheckSearchRequest(request).message(), Catch::Contains("k 0"));
  request.k = 10'001;
  CHECK(CheckSearchRequest(request).code() == StatusCode::kInvalidArgument);
  request.k = 10;
  request.query = " \n";
  CHECK(CheckSearchRequest(request).code() == StatusCode::kInvalidArgument);
  request.query = "x";
  request.dense_weight = -1;
  CHECK(CheckSearchRequest(request).code() == StatusCode::kInvalidArgument);
  request.dense_weight = std::nan("");
  CHECK(CheckSearchRequest(request).code() == StatusCode::kInvalidArgument);
}

TEST_CASE("an engine without an encoder searches by words") {
  Opened opened("none");
  opened.AddFacts();
  for (const SearchMode mode : {SearchMode::kLexical, SearchMode::kHybrid}) {
    const SearchResponse response = opened.Search("signing key", mode);
    REQUIRE_FALSE(response.hits.empty());
    const Hit& hit = response.hits.front();
    CHECK(hit.rank == 1);
    CHECK(hit.document == "keys");
    CHECK(hit.text == "The signing key is rotated every ninety days.");
    CHECK(hit.start == 0);
    CHECK(hit.end == hit.text.size());
    // What the engine adds for filters is not the document's metadata.
    CHECK(hit.metadata ==
          Value(Value::Object{{"year", 2023}, {"lang", "en"}, {"title", "Operations"}}));
  }
  SearchRequest dense;
  dense.query = "key";
  dense.mode = SearchMode::kDense;
  const Status refused = opened.engine->Search("facts", dense).status();
  CHECK(refused.code() == StatusCode::kFailedPrecondition);
  CHECK_THAT(refused.message(), Catch::Contains("encoder"));
}

TEST_CASE("filters see metadata and what the engine knows of a document") {
  Opened opened("none");
  opened.AddFacts();
  CHECK(opened.Search("key day", SearchMode::kLexical, "year >= 2020").hits.size() == 1);
  CHECK(opened.Search("key day", SearchMode::kLexical, "lang = \"ko\"").hits.empty());
  CHECK(opened.Search("key day", SearchMode::kLexical, "document = \"cats\"").hits.size() == 1);
  CHECK(opened.Search("key day", SearchMode::kLexical, "title = \"Operations\"").hits.size() == 1);
  SearchRequest bad;
  bad.query = "x";
  bad.filter = "year >=";
  CHECK(opened.engine->Search("facts", bad).status().code() == StatusCode::kInvalidArgument);
}

TEST_CASE("errors of a search name what is missing") {
  Opened opened("none");
  SearchRequest request;
  request.query = "x";
  CHECK(opened.engine->Search("facts", request).status().code() == StatusCode::kNotFound);
  opened.AddFacts();
  const Status status = opened.engine->Search("fact", request).status();
  CHECK(status.code() == StatusCode::kNotFound);
  CHECK_THAT(status.message(), Catch::Contains("'fact'") && Catch::Contains("facts"));
}

TEST_CASE("texts of a question that are not UTF-8 are refused by their first broken byte") {
  const test::EncoderFolder model("bert");
  Opened opened(model.path().string());
  opened.AddFacts();
  const auto refused = [](const Status& status, const std::string& message) {
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK(status.message() == message);
  };
  SearchRequest search;
  search.query = "pod\xff";
  refused(opened.engine->Search("facts", search).status(), "the query is not UTF-8 at byte 3");
  AskRequest ask;
  ask.search.query = "\xea\xb0\x80\xea\xb0";  // the second character is cut off
  refused(opened.engine->Ask("facts", ask).status(), "the question is not UTF-8 at byte 3");
  ask.search.query = " \n";
  refused(opened.engine->Ask("facts", ask).status(), "the question is empty");
  ask.search.query = "pod";
  ask.history = {{"user", "fine"}, {"assistant", "\xc0\x80"}};
  refused(opened.engine->Ask("facts", ask).status(), "history[1] is not UTF-8 at byte 0");
  refused(opened.engine->Chat(ask.history, {}).status(), "messages[1] is not UTF-8 at byte 0");
  const std::vector<std::string_view> texts = {"fine", "not \x80"};
  refused(opened.engine->Embed(texts).status(), "texts[1] is not UTF-8 at byte 4");
}

TEST_CASE("an empty text has no vector") {
  const test::EncoderFolder model("bert");
  Opened opened(model.path().string());
  const std::vector<std::string_view> texts = {"one", "", "two"};
  const Status status = opened.engine->Embed(texts).status();
  CHECK(status.code() == StatusCode::kInvalidArgument);
  CHECK(status.message() == "texts[1] is empty");
  CHECK(opened.engine->Embed(std::span(texts).first(1))->vectors.rows() == 1);
}

TEST_CASE(
    "questions are encoded with the model's query prompt, passages with its document prompt") {
  const test::EncoderFolder model("bert");
  model.Write("config_sentence_transformers.json",
              R"({"prompts": {"query": "freedom ", "document": "human rights "}})");
  Opened opened(model.path().string());
  const std::string text = "The cat sat on the mat.";
  REQUIRE_OK(opened.engine->AddDocument("facts", TextDocument("cat", text)));
  const std::string query = "everyone has the right to life";
  const double score = opened.Search(query, SearchMode::kDense).hits.at(0).score;
  const auto vector = [&](const std::string& of, TextRole role) {
    const std::string_view view = of;
    Result<Embeddings> embeddings = opened.engine->Embed({&view, 1}, role);
    REQUIRE_OK(embeddings);
    return std::move(embeddings).value();
  };
  const auto cosine = [&](TextRole asked, TextRole stored) {
    return test::Cosine(vector(query, asked).vectors.row(0), vector(text, stored).vectors.row(0));
  };
  CHECK(score == Approx(cosine(TextRole::kQuery, TextRole::kDocument)).margin(1e-5));
  CHECK(std::abs(score - cosine(TextRole::kPlain, TextRole::kDocument)) > 1e-3);
  CHECK(std::abs(score - cosine(TextRole::kQuery, TextRole::kPlain)) > 1e-3);
  // With the prompt's words written out, it is the plain text's vector.
  CHECK(test::Cosine(vector("freedom " + query, TextRole::kPlain).vectors.row(0),
                     vector(query, TextRole::kQuery).vectors.row(0)) > 0.999999);
}

TEST_CASE("dense search finds by meaning, and another encoder is refused") {
  if (!test::DefaultEncoderFolder().has_value()) RAG_SKIP("the default encoder is not set up");
  Opened opened(kDefaultEncoder);
  opened.AddFacts();
  const SearchResponse dense = opened.Search("pets that rest a lot", SearchMode::kDense);
  REQUIRE(dense.hits.size() == 3);
  CHECK(dense.hits[0].document == "cats");
  CHECK(dense.hits[0].score > dense.hits[1].score);
  const SearchResponse filtered =
      opened.Search("pets that rest a lot", SearchMode::kDense, "year > 2020");
  CHECK(filtered.hits.size() == 2);
  CHECK(opened.Search("signing key rotation", SearchMode::kHybrid).hits[0].document == "keys");

  opened.options.encoder = "none";
  opened.Open();
  SearchRequest request;
  request.query = "signing key";
  // Words still do.
  const Result<SearchResponse> words = opened.engine->Search("facts", request);
  REQUIRE_OK(words);
  CHECK(words->hits[0].document == "keys");
  request.mode = SearchMode::kDense;
  CHECK(opened.engine->Search("facts", request).status().code() == StatusCode::kFailedPrecondition);
  // But documents without vectors may not be put among those that have them.
  const Status added = opened.engine->AddDocument("facts", TextDocument("new", "text")).status();
  CHECK(added.code() == StatusCode::kFailedPrecondition);
  CHECK_THAT(added.message(), Catch::Contains(kDefaultEncoder));
}

}  // namespace
}  // namespace rag
