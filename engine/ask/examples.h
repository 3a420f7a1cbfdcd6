// Which examples a few-shot prompt shows.
#pragma once

#include <string_view>
#include <vector>

#include "embed/encoder.h"
#include "engine/answer.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace rag {

inline constexpr size_t kMaxExamplesBytes = size_t{16} << 20;
inline constexpr size_t kMaxExamples = 10'000;

// At most `count`: the first ones, or, with `similar`, those whose questions are most similar to
// the question (cosine of the encoder's vectors; without an encoder, shared terms), the most
// similar last, next to the question. Equal similarity keeps the file's order. Errors: cancelled.
Result<std::vector<Example>> ChooseExamples(std::vector<Example> examples,
                                            std::string_view question, size_t count, bool similar,
                                            const Encoder* encoder, const CancelToken* cancel);

}  // namespace rag
