// The members that say how the decoder writes: what /v1/ask and /v1/chat/completions have in
// common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "apps/ragd/fields.h"
#include "engine/engine.h"

namespace rag {

inline constexpr int64_t kMaxTokens = 1 << 24;
inline constexpr size_t kMaxStops = 16;

// An array of {"role", "content"}; empty where the member is absent.
std::vector<ChatMessage> ReadMessages(Fields& fields, std::string_view key);
// All but the seed; `temperature` is what a request need not say.
void ReadSampling(Fields& fields, double temperature, SamplingOptions& sampling);
// `response_format`: OpenAI's {"type": "text"}, {"type": "json_object"} and {"type": "json_schema",
// "json_schema": {"name", "schema"}}; beside them ours, {"type": "grammar" or "regex", "value"} and
// {"type": "choice", "choices"}.
OutputConstraint ReadResponseFormat(Fields& fields);

}  // namespace rag
