// From found passages to a cited answer: the second half of Engine::Ask.
#pragma once

#include <string_view>

#include "embed/answer_extractor.h"
#include "embed/encoder.h"
#include "engine/answer.h"
#include "generate/generator.h"
#include "index/store.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace rag {

struct AskContext {
  const Collection& collection;             // read again to verify the quotes
  const Encoder* encoder = nullptr;         // null in a lexical-only engine
  Generator* generator = nullptr;           // null: the answer is extractive
  const AnswerExtractor* reader = nullptr;  // of extractive answers; null: sentences are
};

// sources: the passages, best first; they are moved into Answer::sources. With a generator, the
// prompt of request.prompt is filled with as many sources as fit its context less max_tokens; a
// citation [n] in the output is kept when n is a source, and its quote is the sentence of that
// source which supports the citing sentence best. Without one, the answer is the place in the
// sources that the reader finds, or without a reader the sentences that answer best, each cited,
// and Answer::note says so. With no sources the answer says that nothing was found. Errors: those
// of the prompt's files and of Generate; for a constrained answer also failed_precondition without
// a generator, and not_found without sources.
Result<Answer> AnswerQuestion(const AskRequest& request, SearchResponse sources,
                              const AskContext& context,
                              const Generator::TokenCallback* on_text = nullptr,
                              const CancelToken* cancel = nullptr);

}  // namespace rag
