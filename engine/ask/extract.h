// Extractive answers: the sentences of the sources that answer a question best.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/answer.h"
#include "engine/ask.h"
#include "lib/base/status.h"

namespace rag {

struct ExtractedAnswer {
  std::string text;  // "" when nothing scores above the floor
  std::vector<Citation> citations;
};

// Runs of white space become one blank.
std::string Flat(std::string_view text);

// One to three sentences, best first, each followed by its [n]. A sentence's score is the mean of
// its cosine to the question and the weighted share of the question's terms that it (and, for less,
// the sentence before it) has; without an encoder the latter alone. Sentences that repeat a chosen
// one are passed over. A sentence that begins with a pronoun is quoted together with the one before
// it. Errors: cancelled.
Result<ExtractedAnswer> ExtractAnswer(std::string_view question, std::span<const Hit> sources,
                                      const AskContext& context, const CancelToken* cancel);

}  // namespace rag
