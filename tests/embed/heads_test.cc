// Heads against transformers' pipelines (tests/golden/heads/make_heads.py).
#include "embed/answer_extractor.h"
#include "embed/text_classifier.h"
#include "embed/token_classifier.h"
#include "tests/embed/encoder_support.h"

namespace rag::test {
namespace {

void CheckRows(const Result<Matrix>& scores, const Value& expected) {
  REQUIRE_OK(scores);
  REQUIRE(scores->rows() == expected.as_array().size());
  for (size_t i = 0; i < scores->rows(); ++i) {
    const Value::Array& want = expected.as_array()[i].as_array();
    REQUIRE(scores->cols() == want.size());
    for (size_t j = 0; j < want.size(); ++j) {
      INFO("text " << i << " label " << j);
      CHECK(scores->row(i)[j] == Approx(want[j].as_double()).margin(2e-5));
    }
  }
}

TEST_CASE("Texts are classified as the reference does") {
  const auto runtime = MakeRuntime();
  for (const std::string name : {"sequence-bert", "sequence-several", "sequence-nli"}) {
    INFO(name);
    const FamilyFolder folder(name, "heads");
    const Value expected = Expected(folder);
    const auto classifier = TextClassifier::Load(folder.path().string(), *runtime);
    REQUIRE_OK(classifier);
    const std::vector<std::string> texts = Strings(*expected.Find("texts"));
    CheckRows((*classifier)->Classify(Views(texts)), *expected.Find("scores"));
  }
  const FamilyFolder folder("sequence-bert", "heads");
  const auto classifier = TextClassifier::Load(folder.path().string(), *runtime);
  REQUIRE_OK(classifier);
  CHECK((*classifier)->labels() ==
        std::vector<std::string>{"world", "sport", "business", "science"});
}

TEST_CASE("Labels of the caller's are found by entailment as the reference does") {
  const auto runtime = MakeRuntime();
  const FamilyFolder folder("sequence-nli", "heads");
  const Value expected = Expected(folder);
  const auto classifier = TextClassifier::Load(folder.path().string(), *runtime);
  REQUIRE_OK(classifier);
  const std::vector<std::string> texts = Strings(*expected.Find("short"));
  const std::vector<std::string> labels = Strings(*expected.Find("labels"));
  CheckRows((*classifier)->ZeroShot(Views(texts), Views(labels)), *expected.Find("zero_shot"));
  CheckRows((*classifier)->ZeroShot(Views(texts), Views(labels), {.several = true}),
            *expected.Find("zero_shot_several"));

  const std::string_view text = "a text";
  CHECK((*classifier)->ZeroShot({&text, 1}, {}).status().code() == StatusCode::kInvalidArgument);
  const Status no_place =
      (*classifier)->ZeroShot({&text, 1}, {&text, 1}, {.hypothesis = "about it"}).status();
  CHECK(no_place.message().find("about it") != std::string::npos);
  const FamilyFolder other("sequence-bert", "heads");
  const auto topics = TextClassifier::Load(other.path().string(), *runtime);
  REQUIRE_OK(topics);
  const Status untrained = (*topics)->ZeroShot({&text, 1}, {&text, 1}).status();
  CHECK(untrained.code() == StatusCode::kFailedPrecondition);
  CHECK(untrained.message().find("business") != std::string::npos);
}

TEST_CASE("Tokens are labelled as the reference does") {
  const auto runtime = MakeRuntime();
  for (const std::string name : {"token-bert", "token-modernbert"}) {
    const FamilyFolder folder(name, "heads");
    const Value expected = Expected(folder);
    const auto classifier = TokenClassifier::Load(folder.path().string(), *runtime);
    REQUIRE_OK(classifier);
    const std::vector<std::string> texts = Strings(*expected.Find("texts"));
    const auto found = (*classifier)->Find(Views(texts));
    REQUIRE_OK(found);
    const Value::Array& wanted = expected.Find("found")->as_array();
    REQUIRE(found->size() == wanted.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      INFO(name << " '" << texts[i] << "'");
      const Value::Array& want = wanted[i].as_array();
      const std::vector<LabelledRange>& ours = (*found)[i];
      REQUIRE(ours.size() == want.size());
      for (size_t j = 0; j < want.size(); ++j) {
        const Value::Array& range = want[j].Find("range")->as_array();
        CHECK(ours[j].begin == static_cast<size_t>(range[0].as_int()));
        CHECK(ours[j].end == static_cast<size_t>(range[1].as_int()));
        CHECK(ours[j].label == want[j].Find("label")->as_string());
        CHECK(ours[j].score == Approx(want[j].Find("score")->as_double()).margin(2e-5));
      }
    }
  }
}

TEST_CASE("A long text's tokens are labelled to its end") {
  const auto runtime = MakeRuntime();
  const FamilyFolder folder("token-bert", "heads");
  const auto classifier = TokenClassifier::Load(folder.path().string(), *runtime);
  REQUIRE_OK(classifier);
  std::string text;
  for (int i = 0; i < 400; ++i) text += "right ";
  const std::string_view view = text;
  const auto found = (*classifier)->Find({&view, 1});
  REQUIRE_OK(found);
  size_t last = 0;
  for (const LabelledRange& range : found->front()) {
    CHECK(range.begin >= last);
    CHECK(range.end > range.begin);
    last = range.end;
  }
  CHECK(last > text.size() / 2);
  CHECK(last <= text.size());
  CHECK((*classifier)->Find({})->empty());
}

TEST_CASE("Answers are extracted as the reference does, over windows") {
  const auto runtime = MakeRuntime();
  size_t windows = 0;
  for (const std::string name : {"answer-bert", "answer-xlm-roberta", "answer-modernbert"}) {
    const FamilyFolder folder(name, "heads");
    const Value expected = Expected(folder);
    const auto extractor = AnswerExtractor::Load(folder.path().string(), *runtime);
    REQUIRE_OK(extractor);
    const std::vector<std::string> questions = Strings(*expected.Find("questions"));
    const std::vector<std::string> passages = Strings(*expected.Find("passages"));
    for (const Value& want : expected.Find("cases")->as_array()) {
      const std::string& question = questions[static_cast<size_t>(want.Find("question")->as_int())];
      const std::string& passage = passages[static_cast<size_t>(want.Find("passage")->as_int())];
      INFO(name << " '" << question << "' of '" << passage.substr(0, 60) << "'");
      const auto answers =
          (*extractor)
              ->Extract(question, passage, {.top = 5, .max_answer_tokens = 12, .overlap = 32});
      REQUIRE_OK(answers);
      windows = std::max(windows, static_cast<size_t>(want.Find("windows")->as_int()));
      CHECK(answers->no_answer ==
            Approx(want.Find("no_answer")->as_double()).epsilon(1e-4).margin(1e-4));
      const Value::Array& spans = want.Find("spans")->as_array();
      REQUIRE(answers->spans.size() == spans.size());
      for (size_t i = 0; i < spans.size(); ++i) {
        const Value::Array& range = spans[i].Find("range")->as_array();
        CHECK(answers->spans[i].score ==
              Approx(spans[i].Find("score")->as_double()).epsilon(1e-4).margin(1e-4));
        CHECK(answers->spans[i].begin == static_cast<size_t>(range[0].as_int()));
        CHECK(answers->spans[i].end == static_cast<size_t>(range[1].as_int()));
      }
    }
  }
  CHECK(windows > 2);
}

TEST_CASE("Extraction that cannot be done says why") {
  const auto runtime = MakeRuntime();
  const FamilyFolder folder("answer-bert", "heads");
  const auto extractor = AnswerExtractor::Load(folder.path().string(), *runtime);
  REQUIRE_OK(extractor);
  std::string question;
  for (int i = 0; i < 300; ++i) question += "right ";
  const Status full = (*extractor)->Extract(question, "the right").status();
  CHECK(full.code() == StatusCode::kInvalidArgument);
  CHECK(full.message().find("200") != std::string::npos);
  CHECK((*extractor)->Extract("a", "b", {.top = 0}).status().code() ==
        StatusCode::kInvalidArgument);
  CHECK((*extractor)->Extract("a", "b", {.max_answer_tokens = 0}).status().code() ==
        StatusCode::kInvalidArgument);
  const auto nothing = (*extractor)->Extract("a", "");
  REQUIRE_OK(nothing);
  CHECK(nothing->spans.empty());
  CancelToken cancel;
  cancel.Cancel();
  CHECK((*extractor)->Extract("a", "b", {}, &cancel).status().code() == StatusCode::kCancelled);
  const FamilyFolder headless("token-bert", "heads");
  const auto none = AnswerExtractor::Load(headless.path().string(), *runtime);
  CHECK(none.status().message().find("BertForTokenClassification") != std::string::npos);
}

TEST_CASE("A model of another task is refused, though its tensors have the names") {
  const auto runtime = MakeRuntime();
  const FamilyFolder sequence("sequence-bert", "heads");
  const Status tokens = TokenClassifier::Load(sequence.path().string(), *runtime).status();
  CHECK(tokens.code() == StatusCode::kInvalidArgument);
  CHECK(tokens.message().find("BertForSequenceClassification") != std::string::npos);
  const FamilyFolder token("token-modernbert", "heads");
  const Status texts = TextClassifier::Load(token.path().string(), *runtime).status();
  CHECK(texts.code() == StatusCode::kInvalidArgument);
  CHECK(texts.message().find("ModernBertForTokenClassification") != std::string::npos);
  const FamilyFolder topics("sequence-bert", "heads");
  const auto classifier = TextClassifier::Load(topics.path().string(), *runtime);
  REQUIRE_OK(classifier);
  CHECK_FALSE((*classifier)->regression());
}

}  // namespace
}  // namespace rag::test
