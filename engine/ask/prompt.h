// From a question and its sources to the tokens that the generator reads.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/answer.h"
#include "engine/ask.h"
#include "engine/search.h"
#include "generate/generator.h"
#include "lib/base/status.h"

namespace rag {

// How a source stands in a prompt. These copies are the prompt's alone: quotes and byte ranges are
// always of the source's own bytes.
//
// Every line begins with "| " and all line breaks of Unicode count, so that no line of a source
// can pass for a label, a role or the end of the sources. "[3]" becomes "(3)", so that a number
// copied from a source is no citation. Control characters become blanks.
std::string FenceText(std::string_view text);
// "[1] Title > Heading > Heading, page 3", on one line.
std::string SourceLabel(size_t n, const Hit& source);

struct Prompt {
  std::vector<TokenId> tokens;
  std::vector<ChatMessage> messages;
  size_t sources = 0;  // the first so many sources are in it, numbered from 1
  std::string note;    // what was left out; "" when nothing
};

// The prompt of request.prompt for context.generator, with as many sources as fit its context less
// request.max_tokens: when they do not all fit, the lowest-ranked are left out and the last one
// that is kept is shortened; before that, the oldest turns of the history go. Control tokens
// written in a question, a source or the history stay ordinary characters (Generator::RenderChat).
// Errors: those of the template and examples files, naming them; invalid_argument
// when max_tokens fills the context; out_of_range when not even the question fits beside it.
Result<Prompt> BuildPrompt(const AskRequest& request, std::span<const Hit> sources,
                           const AskContext& context, const CancelToken* cancel = nullptr);

}  // namespace rag
