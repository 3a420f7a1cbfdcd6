#include <chrono>

#include "engine/ask.h"
#include "engine/ask/cite.h"
#include "engine/ask/extract.h"
#include "engine/ask/output.h"
#include "engine/ask/prompt.h"
#include "engine/ask/read.h"

namespace rag {
namespace {

constexpr std::string_view kNothingFound =
    "Nothing was found in the collection that answers this question.";

void AddNote(Answer& answer, std::string_view note) {
  if (note.empty()) return;
  if (!answer.note.empty()) answer.note += "; ";
  answer.note += note;
}

// The answer's text in one piece, when it was not streamed.
void Say(Answer& answer, const Generator::TokenCallback* on_text) {
  if (on_text != nullptr && !(*on_text)(answer.text)) {
    answer.finish_reason = FinishReason::kCancelled;
  }
}

Status Extract(const AskRequest& request, const AskContext& context,
               const Generator::TokenCallback* on_text, const CancelToken* cancel, Answer& answer) {
  const bool read = context.reader != nullptr;
  RAG_ASSIGN_OR_RETURN(ExtractedAnswer extracted,
                       read ? ReadAnswer(request.search.query, answer.sources, context, cancel)
                            : ExtractAnswer(request.search.query, answer.sources, context, cancel));
  answer.mode = AnswerMode::kExtractive;
  if (extracted.text.empty()) {
    answer.text = kNothingFound;
    AddNote(answer, read ? "no decoder is configured, and the reader found no answer in the sources"
                         : "no decoder is configured, and no sentence of the sources is near the "
                           "question");
  } else {
    answer.text = std::move(extracted.text);
    answer.citations = std::move(extracted.citations);
    AddNote(answer, read ? "no decoder is configured; the answer is what the reader found"
                         : "no decoder is configured; the answer is the sentences of the sources "
                           "that fit best");
  }
  Say(answer, on_text);
  return OkStatus();
}

Status GenerateAnswer(const AskRequest& request, const AskContext& context,
                      const Generator::TokenCallback* on_text, const CancelToken* cancel,
                      Answer& answer) {
  answer.mode = AnswerMode::kGenerative;
  RAG_ASSIGN_OR_RETURN(Prompt prompt, BuildPrompt(request, answer.sources, context, cancel));
  AddNote(answer, prompt.note);

  GenerateRequest generate;
  generate.prompt = std::move(prompt.tokens);
  generate.max_tokens = request.max_tokens;
  generate.sampling = request.sampling;
  generate.stop = request.stop;
  generate.constraint = request.constraint;
  generate.adapters = request.adapters;
  generate.priority = request.priority;
  OutputSplitter splitter(request.prompt.strategy == PromptStrategy::kChainOfThought, on_text);
  bool wanted = true;
  auto take = [&](std::string_view piece) {
    wanted = splitter.Add(piece);
    return wanted;
  };
  const Generator::TokenCallback callback(take);
  RAG_ASSIGN_OR_RETURN(const GenerateResult result,
                       context.generator->Generate(generate, &callback, cancel));
  if (wanted) wanted = splitter.Finish();
  answer.text = splitter.answer();
  answer.reasoning = splitter.reasoning();
  answer.finish_reason = wanted ? result.finish_reason : FinishReason::kCancelled;
  answer.prompt_tokens = result.prompt_tokens;
  answer.cached_tokens = result.cached_tokens;
  answer.completion_tokens = result.tokens.size();
  answer.prefill_ms = result.prefill_ms;
  answer.decode_ms = result.decode_ms;
  if (splitter.cut_off()) AddNote(answer, "the model's reasoning did not come to an answer");

  // Only sources that were in the prompt can have been cited.
  const auto sources = std::span<const Hit>(answer.sources).first(prompt.sources);
  // What was generated before a cancellation is kept, with its citations.
  const CancelToken* rest = answer.finish_reason == FinishReason::kCancelled ? nullptr : cancel;
  RAG_ASSIGN_OR_RETURN(CitedAnswer cited, CiteAnswer(answer.text, sources, context, rest));
  answer.citations = std::move(cited.citations);
  AddNote(answer, cited.note);
  return OkStatus();
}

}  // namespace

Result<Answer> AnswerQuestion(const AskRequest& request, SearchResponse sources,
                              const AskContext& context, const Generator::TokenCallback* on_text,
                              const CancelToken* cancel) {
  const auto start = std::chrono::steady_clock::now();
  Answer answer;
  answer.sources = std::move(sources.hits);
  answer.search_ms = sources.took_ms;
  if (request.max_tokens == 0) return InvalidArgumentError("max_tokens must be at least 1");
  const bool constrained = request.constraint.kind != OutputConstraint::Kind::kNone;
  if (constrained && context.generator == nullptr) {
    return FailedPreconditionError("a constrained answer needs a decoder, and none is configured");
  }
  if (constrained && answer.sources.empty()) {
    // Who parses the answer would take our sentence for one, or what a decoder makes up.
    return NotFoundError("the search found no passage of the collection '",
                         context.collection.config().name,
                         "', and a constrained answer is not written without sources",
                         sources.note.empty() ? "" : "; ", sources.note);
  }
  if (answer.sources.empty()) {
    answer.text = kNothingFound;
    AddNote(answer, "the search found no source");
    AddNote(answer, sources.note);
    Say(answer, on_text);
  } else if (context.generator == nullptr) {
    RAG_RETURN_IF_ERROR(Extract(request, context, on_text, cancel, answer));
  } else {
    RAG_RETURN_IF_ERROR(GenerateAnswer(request, context, on_text, cancel, answer));
  }
  const std::chrono::duration<double, std::milli> elapsed =
      std::chrono::steady_clock::now() - start;
  answer.total_ms = answer.search_ms + elapsed.count();
  return answer;
}

}  // namespace rag
