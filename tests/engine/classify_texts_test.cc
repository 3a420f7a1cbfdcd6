// Labels of texts and answers of a reader through the engine, against transformers' pipelines
// (tests/golden/heads/make_heads.py).
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "embed/answer_extractor.h"
#include "tests/embed/encoder_support.h"
#include "tests/engine/opened_engine.h"

namespace rag {
namespace {

using test::FamilyFolder;
using test::OpenedEngine;
using test::Strings;
using test::TextDocument;
using test::Views;

struct ClassifierEngine : OpenedEngine {
  explicit ClassifierEngine(const std::string& classifier) {
    options.classifier = classifier;
    Open();
  }
};

// Every label's probability is the reference's, and the largest stands first.
void CheckScores(const Result<std::vector<Classification>>& found,
                 const std::vector<std::string>& labels, const Value& expected) {
  REQUIRE_OK(found);
  REQUIRE(found->size() == expected.as_array().size());
  for (size_t i = 0; i < found->size(); ++i) {
    const Classification& scores = (*found)[i];
    REQUIRE(scores.size() == labels.size());
    for (size_t j = 0; j < labels.size(); ++j) {
      const auto score = std::find_if(scores.begin(), scores.end(), [&](const LabelScore& one) {
        return one.label == labels[j];
      });
      REQUIRE(score != scores.end());
      const double want = expected.as_array()[i].as_array()[j].as_double();
      CHECK(score->probability == Approx(want).margin(2e-5));
      CHECK(std::exp(score->logit) == Approx(score->probability).margin(1e-9));
      CHECK(scores.front().probability >= score->probability);
    }
  }
}

TEST_CASE("texts get the labels of a classifier, or the caller's by entailment") {
  const FamilyFolder topics("sequence-bert", "heads");
  const Value expected = Expected(topics);
  const std::vector<std::string> texts = Strings(*expected.Find("texts"));
  ClassifierEngine opened(topics.path().string());
  CheckScores(opened.engine->ClassifyTexts(Views(texts), {}),
              {"world", "sport", "business", "science"}, *expected.Find("scores"));
  const Status untrained = opened.engine->ClassifyTexts(Views(texts), {.labels = {"a"}}).status();
  CHECK(untrained.code() == StatusCode::kFailedPrecondition);

  const std::vector<std::string_view> broken = {"fine", "\xff"};
  const Status refused = opened.engine->ClassifyTexts(broken, {}).status();
  CHECK(refused.code() == StatusCode::kInvalidArgument);
  CHECK(refused.message() == "texts[1] is not UTF-8 at byte 0");

  const FamilyFolder nli("sequence-nli", "heads");
  const Value entailed = Expected(nli);
  const std::vector<std::string> shorter = Strings(*entailed.Find("short"));
  const std::vector<std::string> labels = Strings(*entailed.Find("labels"));
  ClassifierEngine other(nli.path().string());
  CheckScores(other.engine->ClassifyTexts(Views(shorter), {.labels = labels}), labels,
              *entailed.Find("zero_shot"));
  CheckScores(other.engine->ClassifyTexts(Views(shorter), {.labels = labels, .several = true}),
              labels, *entailed.Find("zero_shot_several"));
}

TEST_CASE("a classification of texts that cannot be done says why") {
  const std::string_view text = "a text";
  OpenedEngine none;
  CHECK(none.engine->ClassifyTexts({&text, 1}, {}).status().code() ==
        StatusCode::kFailedPrecondition);
  CHECK(none.engine->LabelRanges({&text, 1}).status().code() == StatusCode::kFailedPrecondition);
  CHECK_FALSE(none.engine->GetClassifierInfo()->has_value());
  const FamilyFolder nli("sequence-nli", "heads");
  ClassifierEngine opened(nli.path().string());
  const auto message = [&](const ClassifyTextsRequest& request) {
    const Status status = opened.engine->ClassifyTexts({&text, 1}, request).status();
    CHECK(status.code() == StatusCode::kInvalidArgument);
    return status.message();
  };
  CHECK_THAT(message({.labels = {"a", ""}}), Catch::Contains("label 1 is empty"));
  CHECK_THAT(message({.labels = {"a", "a"}}), Catch::Contains("'a' is there twice"));
  CHECK_THAT(message({.labels = {std::string(1'001, 'x')}}), Catch::Contains("1001 bytes"));
  CHECK_THAT(message({.labels = std::vector<std::string>(1'001, "x")}), Catch::Contains("1001"));
  CHECK_THAT(message({.labels = {"a"}, .hypothesis = "no place"}), Catch::Contains("no place"));
  CHECK_THAT(message({.labels = {"a"}, .hypothesis = std::string(1'001, 'x')}),
             Catch::Contains("1001 bytes"));
  CHECK(opened.engine->ClassifyTexts({}, {.labels = {"a"}})->empty());
  // A model of texts is none of tokens, though it has a matrix of that name, and the other way.
  const Status of_texts = opened.engine->LabelRanges({&text, 1}).status();
  CHECK(of_texts.code() == StatusCode::kInvalidArgument);
  CHECK_THAT(of_texts.message(), Catch::Contains("XLMRobertaForSequenceClassification"));
  const auto texts_info = opened.engine->GetClassifierInfo();
  REQUIRE_OK(texts_info);
  REQUIRE(texts_info->has_value());
  CHECK_FALSE((*texts_info)->of_tokens);
  CHECK((*texts_info)->labels.size() == opened.engine->ClassifyTexts({&text, 1}, {})->at(0).size());
  const FamilyFolder tokens("token-modernbert", "heads");
  ClassifierEngine other(tokens.path().string());
  const Status of_tokens = other.engine->ClassifyTexts({&text, 1}, {}).status();
  CHECK(of_tokens.code() == StatusCode::kInvalidArgument);
  CHECK_THAT(of_tokens.message(), Catch::Contains("ModernBertForTokenClassification"));
  const auto tokens_info = other.engine->GetClassifierInfo();
  REQUIRE_OK(tokens_info);
  REQUIRE(tokens_info->has_value());
  CHECK((*tokens_info)->of_tokens);
  CHECK_FALSE((*tokens_info)->labels.empty());
  ClassifierEngine absent("/absent/model");
  CHECK(absent.engine->GetClassifierInfo().status().code() == StatusCode::kNotFound);
}

TEST_CASE("places in texts are labelled") {
  const FamilyFolder tokens("token-bert", "heads");
  const Value expected = Expected(tokens);
  const std::vector<std::string> texts = Strings(*expected.Find("texts"));
  ClassifierEngine opened(tokens.path().string());
  const auto found = opened.engine->LabelRanges(Views(texts));
  REQUIRE_OK(found);
  size_t ranges = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    const Value::Array& want = expected.Find("found")->as_array()[i].as_array();
    REQUIRE((*found)[i].size() == want.size());
    for (size_t j = 0; j < want.size(); ++j) {
      const Value::Array& range = want[j].Find("range")->as_array();
      CHECK((*found)[i][j].begin == static_cast<size_t>(range[0].as_int()));
      CHECK((*found)[i][j].end == static_cast<size_t>(range[1].as_int()));
      ++ranges;
    }
  }
  CHECK(ranges > 0);
}

// The place that the reference finds best in each passage decides what is answered.
TEST_CASE("a reader's answer is its best place in the sources, cited and verified") {
  const FamilyFolder model("answer-bert", "heads");
  OpenedEngine opened;
  opened.options.reader = model.path().string();
  opened.Open();
  const std::vector<std::string> passages = {
      "The signing key is rotated every ninety days. The old one stays valid for a day.",
      "Everyone has the right to life, liberty and security of person.",
      "A cat sleeps for most of the day. It hunts at dusk."};
  for (size_t i = 0; i < passages.size(); ++i) {
    REQUIRE_OK(opened.engine->AddDocument("notes", TextDocument(StrCat("d", i), passages[i])));
  }
  const auto extractor = AnswerExtractor::Load(model.path().string(), *opened.runtime);
  REQUIRE_OK(extractor);
  size_t answered = 0;
  for (const std::string question :
       {"How often is the key rotated in a day?", "What is the right of everyone?",
        "When does the cat sleep?", "the day the right the key", "key", "right life day"}) {
    AskRequest request;
    request.search.query = question;
    const Result<Answer> answer = opened.engine->Ask("notes", request);
    REQUIRE_OK(answer);
    CHECK(answer->mode == AnswerMode::kExtractive);
    float best = 0;
    size_t source = 0;
    std::string span;
    for (size_t i = 0; i < answer->sources.size(); ++i) {
      const std::string& text = answer->sources[i].text;
      const auto found = (*extractor)->Extract(question, text);
      REQUIRE_OK(found);
      const ExtractedAnswers::Span& first = found->spans.front();
      if (first.score - found->no_answer <= best) continue;
      best = first.score - found->no_answer;
      source = i;
      span = text.substr(first.begin, first.end - first.begin);
    }
    INFO(question << ": " << answer->text);
    if (best <= 0) {
      CHECK(answer->citations.empty());
      CHECK_THAT(answer->note, Catch::Contains("reader"));
      continue;
    }
    ++answered;
    CHECK(answer->text == StrCat(span, " [", source + 1, "]"));
    REQUIRE(answer->citations.size() == 1);
    const Citation& citation = answer->citations[0];
    CHECK(citation.n == source + 1);
    CHECK(citation.verified);
    CHECK(citation.document == answer->sources[source].document);
    CHECK(citation.quote.find(span) != std::string::npos);
    // Whole sentences.
    CHECK(citation.quote.ends_with('.'));
  }
  CHECK(answered > 0);
  opened.options.reader = "/absent/reader";
  opened.Open();
  AskRequest request;
  request.search.query = "right";
  CHECK(opened.engine->Ask("notes", request).status().code() == StatusCode::kNotFound);
  CHECK(opened.engine->LoadReader().code() == StatusCode::kNotFound);
}

}  // namespace
}  // namespace rag
