// A decoder that is asked whether a passage answers a query, as a reranker.
#pragma once

#include <memory>
#include <string>

#include "embed/reranker.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"

namespace rag {

// Whether `folder` is one: its modules.json has a LogitScore, or without modules.json config.json
// names an architecture ForCausalLM. Errors: those of reading these files.
Result<bool> IsDecoderReranker(const std::string& folder);

// Query and passage stand in the model's chat template as messages of the roles "query" and
// "document", behind a system message with the default prompt where there is one; the score is the
// logit of one token of an answer less another's (those of LogitScore; without modules.json "yes"
// and "no"), or its sigmoid (Zhang et al. 2025, "Qwen3 Embedding", section 2). As
// sentence-transformers' CrossEncoder: what is too long is cut at its end, behind which the
// template's own end stands again. Control tokens that are written in the texts are not taken as
// such. Errors: as Encoder::Load's; invalid_argument for a template that cannot be parsed or leaves
// out one of the two; unsupported for a folder without a template.
Result<std::unique_ptr<Reranker>> LoadDecoderReranker(const std::string& folder,
                                                      const Runtime& runtime, Precision precision);

}  // namespace rag
