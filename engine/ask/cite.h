// Citations: the [n] of an answer -> quotes of the sources, checked against the stored bytes.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/answer.h"
#include "engine/ask.h"
#include "engine/ask/evidence.h"
#include "lib/base/status.h"

namespace rag {

// One "[1]" or "[1, 3]" or "[2-4]" in a text.
struct CitationMarker {
  size_t begin = 0;  // bytes, brackets included
  size_t end = 0;
  std::vector<size_t> numbers;  // 1 .. source_count, in order, each once
};

// Markers whose numbers are sources; numbers out of range are left out, and so is what stands in
// code (`…` and fenced blocks) or is a link's text ("[1](…)").
std::vector<CitationMarker> FindMarkers(std::string_view answer, size_t source_count);

// The sentence that each marker stands at: the one it is in or follows; "" when there is none.
std::string_view CitingSentence(std::string_view answer, const CitationMarker& marker);

// Reads documents again to verify quotes; each document once.
class QuoteChecker {
 public:
  explicit QuoteChecker(const Collection& collection) : collection_(collection) {}
  // The stored bytes [citation.start, citation.end) are citation.quote.
  bool Verify(const Citation& citation);

 private:
  const Collection& collection_;
  std::map<std::string, std::string, std::less<>> bodies_;
};

// A citation of source[begin, end), verified.
Citation MakeCitation(size_t n, const Hit& source, uint32_t begin, uint32_t end,
                      QuoteChecker& checker);

struct CitedAnswer {
  std::vector<Citation> citations;
  std::string note;  // which citations were dropped and why; "" when none
};

// The citations of a generated answer. For each marker and number, the quote is the sentence of
// that source which supports the citing sentence best (weighted share of the terms, and with an
// encoder the cosine). When even that one supports it in nothing, the citation is dropped and named
// in the note: `verified` says that the bytes are the stored ones, a kept citation that the source
// speaks of the same thing; neither says that the statement is true. Errors: cancelled.
Result<CitedAnswer> CiteAnswer(std::string_view answer, std::span<const Hit> sources,
                               const AskContext& context, const CancelToken* cancel);

}  // namespace rag
