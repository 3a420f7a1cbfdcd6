// What search, ask and chat share.
#pragma once

#include <string>

#include "apps/rag/options.h"
#include "engine/answer.h"
#include "engine/search.h"

namespace rag {

// `k` is the command's own.
Result<SearchRequest> ToSearchRequest(const Options& options, std::string query, uint64_t k);
Result<AskRequest> ToAskRequest(const Options& options, std::string question);

// "document > heading (page 3)" of a hit or citation.
std::string Place(const std::string& document, const std::vector<std::string>& headings,
                  uint32_t page);
// The answer, unless it was streamed already, its note and its citations, for people.
void PrintAnswer(const Answer& answer, bool streamed);

}  // namespace rag
