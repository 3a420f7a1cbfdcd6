// AnswerQuestion: both modes, reasoning apart, streaming.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "engine/ask.h"
#include "engine/ask/output.h"
#include "tests/engine/ask/fakes.h"
#include "tests/support/support.h"

namespace rag {
namespace {

using test::FakeCollection;
using test::FakeGenerator;

struct Split {
  std::string answer;
  std::string reasoning;
  bool cut_off = false;
};

// The output in pieces of `size` bytes; what was streamed must add up to the answer.
Split SplitOutput(const std::string& output, bool expect_reasoning, size_t size) {
  std::string streamed;
  auto take = [&](std::string_view text) {
    streamed += text;
    return true;
  };
  const Generator::TokenCallback callback(take);
  OutputSplitter splitter(expect_reasoning, &callback);
  for (size_t i = 0; i < output.size(); i += size) REQUIRE(splitter.Add(output.substr(i, size)));
  REQUIRE(splitter.Finish());
  CHECK(streamed == splitter.answer());
  return {splitter.answer(), splitter.reasoning(), splitter.cut_off()};
}

TEST_CASE("reasoning is kept apart, however the output is cut into pieces") {
  for (const size_t size : {1, 2, 3, 7, 1000}) {
    INFO(size);
    Split split = SplitOutput(
        "Reasoning: Source 1 says blue.\nThe answer: not a label\n\nAnswer: It is blue [1].\n "
        "More. \n",
        true, size);
    CHECK(split.answer == "It is blue [1].\n More.");
    CHECK(split.reasoning == "Source 1 says blue.\nThe answer: not a label");
    split = SplitOutput("thinking\n**Final Answer:** x", true, size);
    CHECK(split.answer == "x");
    CHECK(split.reasoning == "thinking");
    split = SplitOutput("  <think>\nhm\n</think>\n\nPlain [1]", false, size);
    CHECK(split.answer == "Plain [1]");
    CHECK(split.reasoning == "hm");
    split = SplitOutput("<think>a</think>Reasoning: b\nAnswer: c", true, size);
    CHECK(split.answer == "c");
    CHECK(split.reasoning == "a\n\nb");
    split = SplitOutput("Neither label nor reason.", true, size);
    CHECK(split.answer == "Neither label nor reason.");
    CHECK(split.reasoning.empty());
    split = SplitOutput("Reasoning: it goes on and on", true, size);
    CHECK(split.answer.empty());
    CHECK(split.reasoning == "it goes on and on");
    CHECK(split.cut_off);
    split = SplitOutput("<think> never ends", false, size);
    CHECK(split.answer.empty());
    CHECK(split.cut_off);
    split = SplitOutput("Answer: kept as it is", false, size);
    CHECK(split.answer == "Answer: kept as it is");
    split = SplitOutput(" \n ", true, size);
    CHECK(split.answer.empty());
  }
}

TEST_CASE("a generated answer is streamed without its reasoning and cited") {
  FakeCollection collection;
  SearchResponse sources;
  sources.hits = {collection.Add("a", "The sky is blue. Grass is green."),
                  collection.Add("b", "Salmon swim upstream.")};
  FakeGenerator generator("Reasoning: Source 2 is about fish [2].\nAnswer: The sky is blue [1].\n");
  AskRequest request;
  request.search.query = "What colour is the sky?";
  request.prompt.strategy = PromptStrategy::kChainOfThought;
  std::string streamed;
  auto take = [&](std::string_view text) {
    streamed += text;
    return true;
  };
  const Generator::TokenCallback callback(take);
  const auto answer =
      AnswerQuestion(request, sources, {collection, nullptr, &generator}, &callback);
  REQUIRE_OK(answer);
  CHECK(answer->text == "The sky is blue [1].");
  CHECK(streamed == answer->text);
  CHECK(answer->reasoning == "Source 2 is about fish [2].");
  CHECK(answer->mode == AnswerMode::kGenerative);
  CHECK(answer->sources.size() == 2);
  CHECK(answer->prompt_tokens > 20);
  CHECK(answer->completion_tokens > 5);
  CHECK(answer->finish_reason == FinishReason::kStop);
  REQUIRE(answer->citations.size() == 1);
  CHECK(answer->citations[0].quote == "The sky is blue.");
  CHECK(answer->citations[0].verified);

  auto stop = [](std::string_view) { return false; };
  const Generator::TokenCallback stopping(stop);
  const auto stopped =
      AnswerQuestion(request, sources, {collection, nullptr, &generator}, &stopping);
  REQUIRE_OK(stopped);
  CHECK(stopped->finish_reason == FinishReason::kCancelled);
}

TEST_CASE("without a decoder the answer is the sentences that fit best") {
  FakeCollection collection;
  SearchResponse sources;
  sources.hits = {
      collection.Add("tower",
                     "# Tower\n\nThe tower stands in Paris. It was built in 1889 by Eiffel's "
                     "company. Tickets are sold online."),
      collection.Add("fish", "Salmon swim upstream to spawn. Bears wait for them.")};
  AskRequest request;
  request.search.query = "When was the tower in Paris built?";
  std::string streamed;
  auto take = [&](std::string_view text) {
    streamed += text;
    return true;
  };
  const Generator::TokenCallback callback(take);
  const auto answer = AnswerQuestion(request, sources, {collection}, &callback);
  REQUIRE_OK(answer);
  CHECK(answer->mode == AnswerMode::kExtractive);
  CHECK(answer->text.find("built in 1889") != std::string::npos);
  CHECK(answer->text.find("Salmon") == std::string::npos);
  CHECK(answer->text.find("[1]") != std::string::npos);
  CHECK(answer->note.starts_with("no decoder is configured"));
  CHECK(streamed == answer->text);
  REQUIRE_FALSE(answer->citations.empty());
  for (const Citation& citation : answer->citations) {
    CHECK(citation.verified);
    CHECK(citation.n == 1);
  }
}

TEST_CASE("a sentence that only leads to a list is no answer when there is a better one") {
  FakeCollection collection;
  SearchResponse sources;
  sources.hits = {collection.Add("a",
                                 "The use cases of a Deployment are the following:\n\n"
                                 "A Deployment has the use case of rolling out a ReplicaSet.")};
  AskRequest request;
  request.search.query = "What are the use cases of a Deployment?";
  const auto answer = AnswerQuestion(request, sources, {collection});
  REQUIRE_OK(answer);
  CHECK(answer->text.starts_with("A Deployment has the use case of rolling out a ReplicaSet. [1]"));
}

TEST_CASE("an answer says when nothing was found") {
  FakeCollection collection;
  AskRequest request;
  request.search.query = "When was the tower built?";
  const auto empty = AnswerQuestion(request, {}, {collection});
  REQUIRE_OK(empty);
  CHECK(empty->text.find("Nothing was found") != std::string::npos);
  CHECK(empty->citations.empty());

  SearchResponse sources;
  sources.hits = {collection.Add("fish", "Salmon swim upstream. Bears wait for them.")};
  const auto unrelated = AnswerQuestion(request, sources, {collection});
  REQUIRE_OK(unrelated);
  CHECK(unrelated->text.find("Nothing was found") != std::string::npos);
  CHECK(unrelated->citations.empty());
  CHECK_FALSE(unrelated->note.empty());

  request.max_tokens = 0;
  CHECK(AnswerQuestion(request, sources, {collection}).status().code() ==
        StatusCode::kInvalidArgument);
}

TEST_CASE("a constrained answer is of its form or an error") {
  FakeCollection collection;
  FakeGenerator generator("yes");
  AskRequest request;
  request.search.query = "Do salmon swim upstream?";
  request.constraint = {OutputConstraint::Kind::kChoice, "", {"yes", "no"}};
  SearchResponse none;
  none.note = "no passage has a field 'yaer'";
  std::string streamed;
  auto take = [&](std::string_view text) {
    streamed += text;
    return true;
  };
  const Generator::TokenCallback callback(take);
  const AskContext context = {collection, nullptr, &generator};
  const Status not_found = AnswerQuestion(request, none, context, &callback).status();
  CHECK(not_found.code() == StatusCode::kNotFound);
  CHECK(not_found.message().find("no passage") != std::string::npos);
  CHECK(not_found.message().find(none.note) != std::string::npos);
  CHECK(streamed.empty());
  CHECK(AnswerQuestion(request, none, {collection}).status().code() ==
        StatusCode::kFailedPrecondition);

  SearchResponse sources;
  sources.hits = {collection.Add("fish", "Salmon swim upstream. Bears wait for them.")};
  const auto answer = AnswerQuestion(request, sources, context);
  REQUIRE_OK(answer);
  CHECK(answer->text == "yes");
}

}  // namespace
}  // namespace rag
