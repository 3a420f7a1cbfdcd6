// Cross-encoders against sentence-transformers (tests/golden/rerankers/make_rerankers.py).
#include "embed/reranker.h"

#include <algorithm>

#include "tests/embed/encoder_support.h"

namespace rag::test {
namespace {

struct Pairs {
  std::vector<std::string> queries;
  std::vector<std::string> passages;
};

Pairs GoldenPairs() {
  const Result<Value> json = ParseJson(ReadAll(Golden("rerankers/pairs.json")));
  REQUIRE_OK(json);
  Pairs pairs;
  for (const Value& text : json->Find("queries")->as_array()) {
    pairs.queries.push_back(text.as_string());
  }
  for (const Value& text : json->Find("passages")->as_array()) {
    pairs.passages.push_back(text.as_string());
  }
  return pairs;
}

std::vector<float> GoldenScores(const std::string& name) {
  const std::string bytes = ReadAll(Golden("rerankers/" + name + "/scores.f32"));
  std::vector<float> scores(bytes.size() / sizeof(float));
  std::memcpy(scores.data(), bytes.data(), scores.size() * sizeof(float));
  return scores;
}

std::vector<float> Score(const Reranker& reranker, const std::string& query,
                         const std::vector<std::string>& passages) {
  const std::vector<std::string_view> views(passages.begin(), passages.end());
  const Result<RerankScores> scored = reranker.Score(query, views);
  REQUIRE_OK(scored);
  REQUIRE(scored->scores.size() == passages.size());
  CHECK(scored->stats.texts == passages.size());
  return scored->scores;
}

void CheckReranker(const std::string& name, size_t max_tokens, bool sigmoid,
                   const std::string& model_type = "") {
  const Pairs pairs = GoldenPairs();
  const std::vector<float> expected = GoldenScores(name);
  const size_t count = pairs.passages.size();
  REQUIRE(expected.size() == pairs.queries.size() * count);
  REQUIRE(expected.size() >= 300);
  const FamilyFolder folder(name, "rerankers");
  for (const Isa isa : kAllIsas) {
    if (GetKernels(isa) == nullptr) continue;
    const auto runtime = MakeRuntime(std::string(IsaName(isa)));
    const auto reranker = Reranker::Load(folder.path().string(), *runtime);
    REQUIRE_OK(reranker);
    const RerankerInfo& info = (*reranker)->info();
    CHECK(info.model_type == (model_type.empty() ? name : model_type));
    CHECK(info.max_tokens == max_tokens);
    CHECK(info.sigmoid == sigmoid);
    const size_t queries = isa == Isa::kScalar ? 3 : pairs.queries.size();
    for (size_t q = 0; q < queries; ++q) {
      INFO(name << " " << IsaName(isa) << " query '" << pairs.queries[q] << "'");
      const std::vector<float> scores = Score(**reranker, pairs.queries[q], pairs.passages);
      const std::span<const float> want(expected.data() + q * count, count);
      for (size_t i = 0; i < count; ++i) {
        INFO("passage " << i << ": " << scores[i] << " and " << want[i]);
        // f32 arithmetic of a few layers in another order than torch's.
        CHECK(std::abs(scores[i] - want[i]) <= 4e-5f * std::max(1.0f, std::abs(want[i])));
      }
      CHECK(Order(scores) == Order(want));
    }
  }
}

TEST_CASE("BERT reranks as the reference does") { CheckReranker("bert", 200, true); }
TEST_CASE("XLM-RoBERTa reranks as the reference does, in logits") {
  CheckReranker("xlm-roberta", 200, false);
}
TEST_CASE("ModernBERT reranks as the reference does") { CheckReranker("modernbert", 300, true); }
TEST_CASE("ELECTRA reranks as the reference does, in logits") {
  CheckReranker("electra", 180, false);
}
TEST_CASE("DistilBERT reranks as the reference does") { CheckReranker("distilbert", 200, true); }
TEST_CASE("ALBERT reranks as the reference does, in logits") {
  CheckReranker("albert", 200, false);
}
TEST_CASE("MPNet reranks as the reference does, in logits") { CheckReranker("mpnet", 200, false); }

TEST_CASE("MobileBERT reranks as the reference does, in logits") {
  CheckReranker("mobilebert", 200, false);
  CheckReranker("mobilebert-plain", 200, false, "mobilebert");
}
TEST_CASE("GTE reranks as the reference does, in logits") { CheckReranker("gte", 300, false); }
TEST_CASE("JinaBERT reranks as BERT's head does, in logits") {
  CheckReranker("jina-bert", 300, false, "bert");
}

TEST_CASE("A decoder that is asked through its chat template reranks as the reference does") {
  CheckReranker("decoder", 300, true, "qwen3");
  CheckReranker("decoder-tied", 280, false, "llama");
}

TEST_CASE("A decoder's reranker that cannot be is refused, naming file and key") {
  struct Change {
    std::string file;
    std::string content;
    StatusCode code;
    std::vector<std::string> words;
  };
  const auto runtime = MakeRuntime();
  const std::string answers = "1_LogitScore/config.json";
  const std::string chat = "chat_template.jinja";
  const StatusCode invalid = StatusCode::kInvalidArgument;
  const StatusCode unknown = StatusCode::kUnsupported;
  for (const Change& change : std::vector<Change>{
           {answers, R"({"true_token_id": 600})", invalid, {answers, "true_token_id"}},
           {answers, R"({"true_token_id": -1})", invalid, {answers, "true_token_id"}},
           {answers, R"({"true_token_id": "yes"})", invalid, {answers, "true_token_id"}},
           {answers, R"({"false_token_id": 3})", invalid, {answers, "true_token_id"}},
           {answers,
            R"({"true_token_id": 1, "module_input_name": "scores"})",
            unknown,
            {answers, "module_input_name"}},
           {chat, "", unknown, {"chat template"}},
           {chat, "{% if %}", invalid, {"chat template", "model"}},
           {chat, "{{ messages[1].content }}", invalid, {"leaves out", "document"}},
           {chat, "{{ messages[2].content }}", invalid, {"leaves out", "query"}},
           {chat, "{{ raise_exception('no such role') }}", invalid, {"no such role"}},
           {"sentence_bert_config.json",
            R"({"processing_kwargs": {"chat_template": {"a": 1}}})",
            unknown,
            {"processing_kwargs"}},
           {"config_sentence_transformers.json",
            R"({"default_prompt_name": "web", "prompts": {"other": "x"}})",
            invalid,
            {"default_prompt_name", "web"}},
       }) {
    INFO(change.file << ": " << change.content);
    const FamilyFolder folder("decoder", "rerankers");
    folder.Write(change.file, change.content);
    const auto reranker = Reranker::Load(folder.path().string(), *runtime);
    REQUIRE_FALSE(reranker.ok());
    CHECK(reranker.status().code() == change.code);
    for (const std::string& word : change.words) {
      INFO(reranker.status().message() << "\nlooking for " << word);
      CHECK(reranker.status().message().find(word) != std::string::npos);
    }
  }
  const FamilyFolder folder("decoder", "rerankers");
  const auto encoder = Encoder::Load(folder.path().string(), *runtime);
  REQUIRE_FALSE(encoder.ok());
  CHECK(encoder.status().message().find("LogitScore") != std::string::npos);
}

TEST_CASE("Control tokens written in a pair are plain text to a decoder that reranks") {
  const auto runtime = MakeRuntime();
  const FamilyFolder folder("decoder", "rerankers");
  const auto reranker = Reranker::Load(folder.path().string(), *runtime);
  REQUIRE_OK(reranker);
  // Were they taken, the second would end the passage and ask anew: as many tokens as the first.
  const std::string ends = "[SEP][MASK]";
  const std::vector<std::string_view> one = {"a passage"};
  const std::string longer = StrCat("a passage", ends);
  const std::vector<std::string_view> other = {longer};
  const auto plain = (*reranker)->Score("a query", one);
  const auto marked = (*reranker)->Score("a query", other);
  REQUIRE_OK(plain);
  REQUIRE_OK(marked);
  CHECK(marked->stats.tokens >= plain->stats.tokens + 6);
}

TEST_CASE("A pair's score does not depend on its companions, bit for bit") {
  const Pairs pairs = GoldenPairs();
  const auto runtime = MakeRuntime();
  const FamilyFolder folder("bert", "rerankers");
  const auto reranker = Reranker::Load(folder.path().string(), *runtime);
  REQUIRE_OK(reranker);
  const std::vector<float> all = Score(**reranker, pairs.queries[0], pairs.passages);
  for (size_t i = 0; i < pairs.passages.size(); i += 3) {
    CHECK(Score(**reranker, pairs.queries[0], {pairs.passages[i]}).front() == all[i]);
  }
  CHECK(Score(**reranker, pairs.queries[0], {}).empty());
  CHECK(Score(**reranker, "", {""}).size() == 1);
}

TEST_CASE("A reranker's folder that cannot be used is refused, naming file and key") {
  struct Refusal {
    std::string model, from, to;
    StatusCode code;
    std::vector<std::string> words;
  };
  const Refusal refusals[] = {
      {"electra",
       "Identity",
       "Softmax",
       StatusCode::kUnsupported,
       {"config.json", "activation_fn", "Softmax"}},
      {"xlm-roberta",
       "Identity",
       "ReLU",
       StatusCode::kUnsupported,
       {"config.json", "sbert_ce_default_activation_function", "ReLU"}},
      {"bert",
       "\"0\": \"LABEL_0\"",
       "\"0\": \"LABEL_0\", \"1\": \"LABEL_1\"",
       StatusCode::kUnsupported,
       {"config.json", "id2label", "2"}},
      {"bert",
       "\"hidden_size\": 24",
       "\"hidden_size\": 48",
       StatusCode::kInvalidArgument,
       {"word_embeddings", "[600, 24]", "[600, 48]"}},
      {"modernbert",
       "\"classifier_pooling\": \"mean\"",
       "\"classifier_pooling\": \"max\"",
       StatusCode::kUnsupported,
       {"config.json", "classifier_pooling", "max"}},
      {"bert",
       "\"model_type\": \"bert\"",
       "\"model_type\": \"opt\"",
       StatusCode::kUnsupported,
       {"config.json", "opt", "modernbert"}},
      {"bert",
       "\"vocab_size\": 600",
       "\"vocab_size\": 599",
       StatusCode::kInvalidArgument,
       {"599", "vocab_size"}},
  };
  const auto runtime = MakeRuntime();
  for (const Refusal& refusal : refusals) {
    const FamilyFolder folder(refusal.model, "rerankers");
    folder.Replace("config.json", refusal.from, refusal.to);
    const auto reranker = Reranker::Load(folder.path().string(), *runtime);
    INFO(refusal.model << " " << refusal.to);
    REQUIRE_FALSE(reranker.ok());
    INFO(reranker.status().ToString());
    CHECK(reranker.status().code() == refusal.code);
    for (const std::string& word : refusal.words) {
      INFO("looking for " << word);
      CHECK(reranker.status().message().find(word) != std::string::npos);
    }
  }
  // An encoder without a head.
  const FamilyFolder encoder("electra");
  const auto headless = Reranker::Load(encoder.path().string(), *runtime);
  CHECK(headless.status().code() == StatusCode::kInvalidArgument);
  CHECK(headless.status().message().find("ElectraModel") != std::string::npos);
}

TEST_CASE("A cancelled reranking says so") {
  const auto runtime = MakeRuntime();
  const FamilyFolder folder("bert", "rerankers");
  const auto reranker = Reranker::Load(folder.path().string(), *runtime);
  REQUIRE_OK(reranker);
  CancelToken cancel;
  cancel.Cancel();
  const std::string_view passages[] = {"one", "two"};
  CHECK((*reranker)->Score("query", passages, &cancel).status().code() == StatusCode::kCancelled);
}

}  // namespace
}  // namespace rag::test
