#include "bindings/c/handles.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <utility>

namespace rag::bindings {

void HandOut(const Value& value, char** out) {
  const std::string json = ToJson(value);
  char* const copy = static_cast<char*>(std::malloc(json.size() + 1));
  if (copy == nullptr) throw std::bad_alloc();
  std::memcpy(copy, json.c_str(), json.size() + 1);
  *out = copy;
}

Result<Value> ReadMetadata(const char* json) {
  if (json == nullptr) return Value(Value::Object());
  auto metadata = ParseJson(json);
  if (!metadata.ok()) return std::move(metadata).status().WithContext("metadata_json");
  if (!metadata->is_object()) {
    return InvalidArgumentError("metadata_json must be an object, not ", metadata->type_name());
  }
  return metadata;
}

Result<std::vector<std::string_view>> ReadTexts(const char* const* texts, const size_t* sizes,
                                                size_t count, std::string_view name) {
  std::vector<std::string_view> views;
  if (count == 0) return views;
  RAG_RETURN_IF_ERROR(NeedArgument(texts, name));
  for (size_t i = 0; i < count; ++i) {
    if (texts[i] == nullptr) return InvalidArgumentError(name, "[", i, "] is NULL");
    views.push_back(sizes != nullptr ? std::string_view(texts[i], sizes[i])
                                     : std::string_view(texts[i]));
  }
  return views;
}

Result<std::vector<std::string>> ReadStrings(const char* const* texts, size_t count,
                                             std::string_view name) {
  RAG_ASSIGN_OR_RETURN(const std::vector<std::string_view> views,
                       ReadTexts(texts, nullptr, count, name));
  return std::vector<std::string>(views.begin(), views.end());
}

}  // namespace rag::bindings

extern "C" {

rag_code rag_call_create(rag_call** out) {
  return rag::bindings::Guard([&]() -> rag::Status {
    RAG_RETURN_IF_ERROR(rag::bindings::NeedArgument(out, "out"));
    *out = std::make_unique<rag_call>().release();
    return rag::OkStatus();
  });
}

void rag_call_free(rag_call* call) { delete call; }

void rag_call_cancel(rag_call* call) {
  if (call != nullptr) call->cancel.Cancel();
}

void rag_call_progress(const rag_call* call, uint64_t* done, uint64_t* total) {
  uint64_t of_all = 0;
  uint64_t so_far = 0;
  if (call != nullptr) {
    if (const uint64_t care = call->care.total.load(); care != 0) {
      of_all = care;
      so_far = call->care.done.load();
    } else if (!call->ingest.walking.load()) {
      of_all = call->ingest.bytes_total.load();
      // Documents are counted as they are written, by their text.
      so_far = std::min(call->ingest.bytes_done.load(), of_all);
    }
  }
  if (done != nullptr) *done = so_far;
  if (total != nullptr) *total = of_all;
}

void rag_free(char* text) { std::free(text); }

}  // extern "C"
