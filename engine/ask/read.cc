#include "engine/ask/read.h"

#include <algorithm>
#include <utility>

#include "engine/ask/cite.h"
#include "engine/ask/evidence.h"

namespace rag {
namespace {

// Each is at least one pass of the reader; past these, sources hardly hold what the first do not.
constexpr size_t kMaxRead = 100;

}  // namespace

Result<ExtractedAnswer> ReadAnswer(std::string_view question, std::span<const Hit> sources,
                                   const AskContext& context, const CancelToken* cancel) {
  sources = sources.first(std::min(sources.size(), kMaxRead));
  size_t best_source = 0;
  ExtractedAnswers::Span best;
  float best_margin = 0;
  for (size_t i = 0; i < sources.size(); ++i) {
    RAG_ASSIGN_OR_RETURN(const ExtractedAnswers found,
                         context.reader->Extract(question, sources[i].text, {}, cancel));
    if (found.spans.empty()) continue;
    const float margin = found.spans.front().score - found.no_answer;
    if (margin <= best_margin) continue;
    best_source = i;
    best = found.spans.front();
    best_margin = margin;
  }
  ExtractedAnswer answer;
  if (best_margin <= 0) return answer;
  const Hit& source = sources[best_source];
  auto begin = static_cast<uint32_t>(best.begin);
  auto end = static_cast<uint32_t>(best.end);
  answer.text = StrCat(Flat(std::string_view(source.text).substr(begin, end - begin)), " [",
                       best_source + 1, "]");
  const Evidence evidence({&source, 1});
  for (const Sentence& sentence : evidence.sentences()) {
    if (sentence.end <= best.begin || sentence.begin >= best.end) continue;
    begin = std::min(begin, sentence.begin);
    end = std::max(end, sentence.end);
  }
  QuoteChecker checker(context.collection);
  answer.citations.push_back(MakeCitation(best_source + 1, source, begin, end, checker));
  return answer;
}

}  // namespace rag
