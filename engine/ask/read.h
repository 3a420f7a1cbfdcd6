// Answers read from the sources by an extractive model.
#pragma once

#include <span>
#include <string>

#include "engine/ask.h"
#include "engine/ask/extract.h"
#include "engine/search.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace rag {

// The reader's best place in the sources, followed by its [n]; the citation's quote is the sentence
// around it. Of several sources the one whose place is the furthest above the reader's score for
// no answer wins, and then the better-ranked one; where none is above it, the text is empty.
// context.reader is there. Errors: those of AnswerExtractor::Extract.
Result<ExtractedAnswer> ReadAnswer(std::string_view question, std::span<const Hit> sources,
                                   const AskContext& context, const CancelToken* cancel);

}  // namespace rag
