#include "embed/answer_extractor.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "embed/passage_windows.h"

namespace rag {
namespace {

constexpr size_t kMaxTop = 100;
constexpr size_t kMaxAnswerTokens = 10'000;
// Start and end.
constexpr size_t kLogits = 2;

using Span = ExtractedAnswers::Span;

// The best `top` of the spans that begin and end in this window's part of the passage.
void AddSpans(const PassageWindow& window, std::span<const Encoding::Range> offsets,
              const Matrix& logits, const ExtractOptions& options,
              std::map<std::pair<size_t, size_t>, float>& best) {
  std::vector<Span> spans;
  const auto better = [](const Span& a, const Span& b) { return a.score > b.score; };
  for (size_t i = 0; i < window.count; ++i) {
    const float start = logits.row(window.passage_row + i)[0];
    const size_t end = std::min(window.count, i + options.max_answer_tokens);
    for (size_t j = i; j < end; ++j) {
      const float score = start + logits.row(window.passage_row + j)[1];
      if (spans.size() == options.top && score <= spans.front().score) continue;
      if (spans.size() == options.top) {
        std::pop_heap(spans.begin(), spans.end(), better);
        spans.pop_back();
      }
      spans.push_back({offsets[window.first + i].begin, offsets[window.first + j].end, score});
      std::push_heap(spans.begin(), spans.end(), better);
    }
  }
  for (const Span& span : spans) {
    const auto [at, is_new] = best.try_emplace({span.begin, span.end}, span.score);
    if (!is_new) at->second = std::max(at->second, span.score);
  }
}

}  // namespace

Result<std::unique_ptr<AnswerExtractor>> AnswerExtractor::Load(const std::string& folder,
                                                               const Runtime& runtime,
                                                               Precision precision) {
  RAG_ASSIGN_OR_RETURN(TaskNetwork task,
                       LoadTaskNetwork(folder, precision, runtime, "ForQuestionAnswering"));
  const TextNetwork& network = *task.network;
  RAG_ASSIGN_OR_RETURN(TokenHead head,
                       TokenHead::Load(task.file, network.config(), network.weights(), "qa_outputs",
                                       kLogits, runtime));
  return std::unique_ptr<AnswerExtractor>(
      new AnswerExtractor(std::move(task.network), std::move(head)));
}

Result<ExtractedAnswers> AnswerExtractor::Extract(std::string_view question,
                                                  std::string_view passage,
                                                  const ExtractOptions& options,
                                                  const CancelToken* cancel) const {
  if (options.top == 0 || options.top > kMaxTop) {
    return InvalidArgumentError("top ", options.top, " is not between 1 and ", kMaxTop);
  }
  if (options.max_answer_tokens == 0 || options.max_answer_tokens > kMaxAnswerTokens) {
    return InvalidArgumentError("max_answer_tokens ", options.max_answer_tokens,
                                " is not between 1 and ", kMaxAnswerTokens);
  }
  RAG_ASSIGN_OR_RETURN(const PassageWindows cut,
                       CutPassage(network_->tokenizer(), &question, passage,
                                  network_->limits().max_tokens, options.overlap));
  RAG_ASSIGN_OR_RETURN(const std::vector<Matrix> logits, head_.Run(*network_, cut.windows, cancel));
  ExtractedAnswers answers;
  answers.no_answer = std::numeric_limits<float>::infinity();
  std::map<std::pair<size_t, size_t>, float> best;
  for (size_t i = 0; i < logits.size(); ++i) {
    AddSpans(cut.windows[i], cut.offsets, logits[i], options, best);
    if (logits[i].rows() == 0) continue;
    answers.no_answer = std::min(answers.no_answer, logits[i].row(0)[0] + logits[i].row(0)[1]);
  }
  for (const auto& [place, score] : best) {
    answers.spans.push_back({place.first, place.second, score});
  }
  std::stable_sort(answers.spans.begin(), answers.spans.end(),
                   [](const Span& a, const Span& b) { return a.score > b.score; });
  if (answers.spans.size() > options.top) answers.spans.resize(options.top);
  return answers;
}

}  // namespace rag
