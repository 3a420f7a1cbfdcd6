// What the engine's handles hold, and what its calls have in common.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bindings/c/guard.h"
#include "engine/engine.h"
#include "lib/base/cancel.h"
#include "lib/base/progress.h"
#include "lib/base/value.h"
#include "lib/runtime/runtime.h"

struct rag_engine {
  std::unique_ptr<rag::Runtime> runtime;  // outlives the engine
  std::unique_ptr<rag::Engine> engine;
};

struct rag_call {
  rag::CancelToken cancel;
  rag::IngestProgress ingest;
  rag::CareProgress care;
};

namespace rag::bindings {

inline const CancelToken* CancelOf(const rag_call* call) {
  return call != nullptr ? &call->cancel : nullptr;
}
inline CareProgress* CareOf(rag_call* call) { return call != nullptr ? &call->care : nullptr; }

// As JSON, in memory that rag_free frees.
void HandOut(const Value& value, char** out);
// The same where the caller wants it.
inline void HandOutIfWanted(const Value& value, char** out) {
  if (out != nullptr) HandOut(value, out);
}
// null and {} are an empty object. Errors: invalid_argument.
Result<Value> ReadMetadata(const char* json);
// `sizes` null: zero-terminated. Errors: invalid_argument naming the place.
Result<std::vector<std::string_view>> ReadTexts(const char* const* texts, const size_t* sizes,
                                                size_t count, std::string_view name);
Result<std::vector<std::string>> ReadStrings(const char* const* texts, size_t count,
                                             std::string_view name);

}  // namespace rag::bindings
