// Answers: prompts, citations, and what Ask takes and gives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/search.h"
#include "generate/generator.h"
#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag {

enum class PromptStrategy { kPlain, kFewShot, kChainOfThought };
std::string_view PromptStrategyName(PromptStrategy strategy);  // "plain", "few-shot", "cot"
Result<PromptStrategy> ParsePromptStrategy(std::string_view name);

struct Example {
  std::string question;
  std::string answer;
  std::string context;  // optional
};
// JSONL with `question`, `answer` and optional `context`. Errors name file and line.
Result<std::vector<Example>> LoadExamples(const std::string& path);

struct PromptOptions {
  PromptStrategy strategy = PromptStrategy::kPlain;
  std::string template_path;  // a Jinja file instead of the built-in of the strategy
  std::string examples_path;  // for few-shot
  size_t example_count = 3;
  bool similar_examples = true;  // the most similar to the question instead of the first ones
  std::string system;            // replaces the built-in system message
};

struct AskRequest {
  SearchRequest search;  // query is the question; k the number of sources
  PromptOptions prompt;
  size_t max_tokens = 256;
  SamplingOptions sampling;
  std::vector<std::string> stop;
  OutputConstraint constraint;  // of all that the decoder writes; an error without one or sources
  int priority = 0;             // GenerateRequest's
  std::vector<ChatMessage> history;  // earlier turns, oldest first
  std::vector<AdapterUse> adapters;  // of the decoder; none: the model as it is
};

// How the decoder answers without retrieval.
struct ChatOptions {
  size_t max_tokens = 256;
  SamplingOptions sampling;
  std::vector<std::string> stop;
  OutputConstraint constraint;
  std::vector<AdapterUse> adapters;
  int priority = 0;
  bool logprobs = false;
  size_t top_logprobs = 0;
};

struct Citation {
  size_t n = 0;  // the [n] in the answer
  std::string document;
  std::string title;
  uint64_t chunk_id = 0;
  uint32_t start = 0;  // byte range of the quote in the document's stored text
  uint32_t end = 0;
  std::vector<std::string> headings;
  uint32_t page = 0;
  std::string quote;
  // The stored bytes [start, end) were read again and equal the quote.
  bool verified = false;
};

enum class AnswerMode { kGenerative, kExtractive };
std::string_view AnswerModeName(AnswerMode mode);

struct Answer {
  std::string text;
  std::string reasoning;  // chain of thought, kept apart; "" otherwise
  std::vector<Citation> citations;
  AnswerMode mode = AnswerMode::kExtractive;
  std::string note;  // why it is extractive, what was dropped from the prompt; "" when nothing
  std::vector<Hit> sources;
  FinishReason finish_reason = FinishReason::kStop;
  size_t prompt_tokens = 0;
  size_t cached_tokens = 0;  // of the prompt's, which the decoder's cache held
  size_t completion_tokens = 0;
  double search_ms = 0;
  double prefill_ms = 0;
  double decode_ms = 0;
  double total_ms = 0;
};

}  // namespace rag
