// Extraction measured: is the answer of a published question in the sentences that are extracted
// when its own paragraph is among six sources of the same article?
#include <catch2/catch.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "engine/ask/extract.h"
#include "lib/base/value.h"
#include "tests/engine/ask/fakes.h"
#include "tests/support/support.h"

namespace rag {
namespace {

struct Asked {
  std::string question;
  std::vector<std::string> answers;
  std::vector<std::string> paragraphs;  // the first one has the answer
};

// Every `step`-th answerable question of a file in SQuAD's layout.
std::vector<Asked> LoadQuestions(const std::filesystem::path& path, size_t count) {
  auto value = ParseJson(test::ReadAll(path));
  REQUIRE_OK(value);
  std::vector<Asked> all;
  for (const Value& article : value->Find("data")->as_array()) {
    const Value::Array& paragraphs = article.Find("paragraphs")->as_array();
    for (size_t p = 0; p < paragraphs.size(); ++p) {
      for (const Value& item : paragraphs[p].Find("qas")->as_array()) {
        Asked asked;
        asked.question = item.Find("question")->as_string();
        for (const Value& answer : item.Find("answers")->as_array()) {
          asked.answers.push_back(answer.Find("text")->as_string());
        }
        if (asked.answers.empty()) continue;
        for (size_t i = 0; i < std::min<size_t>(6, paragraphs.size()); ++i) {
          const Value& other = paragraphs[(p + i) % paragraphs.size()];
          asked.paragraphs.push_back(other.Find("context")->as_string());
        }
        all.push_back(std::move(asked));
      }
    }
  }
  std::vector<Asked> sample;
  const size_t step = std::max<size_t>(1, all.size() / count);
  for (size_t i = 0; i < all.size() && sample.size() < count; i += step) sample.push_back(all[i]);
  return sample;
}

double Measure(const std::vector<Asked>& questions, const Encoder* encoder) {
  size_t right = 0;
  for (size_t q = 0; q < questions.size(); ++q) {
    const Asked& asked = questions[q];
    test::FakeCollection collection;
    std::vector<Hit> hits;
    // The paragraph's rank varies, so that rank alone does not give the answer away.
    for (size_t i = 0; i < asked.paragraphs.size(); ++i) {
      const size_t at = (i + q) % asked.paragraphs.size();
      hits.push_back(collection.Add("p" + std::to_string(at), asked.paragraphs[at]));
    }
    const auto answer =
        ExtractAnswer(asked.question, hits, {collection, encoder, nullptr}, nullptr);
    REQUIRE_OK(answer);
    bool found = false;
    for (const Citation& citation : answer->citations) {
      CHECK(citation.verified);
      for (const std::string& text : asked.answers) {
        found |= citation.quote.find(text) != std::string::npos;
      }
    }
    if (found) ++right;
  }
  return static_cast<double>(right) / static_cast<double>(questions.size());
}

TEST_CASE("extracted sentences hold the answers of SQuAD, by terms alone") {
  const auto data = test::SharedData("qa-squad2-halfdev");
  if (!data) RAG_SKIP("shared/data/qa-squad2-halfdev is absent");
  const double share = Measure(LoadQuestions(*data / "squad2-half-dev.json", 200), nullptr);
  INFO("share " << share);
  CHECK(share >= 0.5);
}

TEST_CASE("extracted sentences hold the answers of KorQuAD, by terms alone") {
  const auto data = test::SharedData("qa-korquad1-dev");
  if (!data) RAG_SKIP("shared/data/qa-korquad1-dev is absent");
  const double share = Measure(LoadQuestions(*data / "KorQuAD_v1.0_dev.json", 200), nullptr);
  INFO("share " << share);
  CHECK(share >= 0.5);
}

TEST_CASE("extracted sentences hold the answers of SQuAD, with the encoder") {
  const auto data = test::SharedData("qa-squad2-halfdev");
  const auto folder = test::DefaultEncoderFolder();
  if (!data || !folder) RAG_SKIP("shared/data/qa-squad2-halfdev or the default encoder is absent");
  const auto runtime = test::MakeRuntime();
  const auto encoder = Encoder::Load(folder->string(), *runtime);
  REQUIRE_OK(encoder);
  // A part of the sample: encoding some sixty sentences a question takes most of the time.
  const size_t count = test::Workload(24, 5, "questions with the encoder");
  const double share =
      Measure(LoadQuestions(*data / "squad2-half-dev.json", count), encoder->get());
  INFO("share " << share);
  CHECK(share >= 0.6);
}

}  // namespace
}  // namespace rag
