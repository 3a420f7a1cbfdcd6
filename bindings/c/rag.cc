// The C ABI: every call is a call of rag::Engine, with its errors turned into codes.
#include "bindings/c/rag.h"

#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "bindings/c/guard.h"
#include "engine/engine.h"
#include "engine/json.h"
#include "lib/base/status.h"
#include "lib/base/value.h"
#include "lib/runtime/runtime.h"

struct rag_engine {
  std::unique_ptr<rag::Runtime> runtime;  // outlives the engine
  std::unique_ptr<rag::Engine> engine;
};

namespace {

using rag::InvalidArgumentError;
using rag::Status;
using rag::StatusCode;
using rag::bindings::Guard;
using rag::bindings::NeedArgument;
using rag::bindings::OrEmpty;

static_assert(static_cast<int>(StatusCode::kOk) == RAG_OK);
static_assert(static_cast<int>(StatusCode::kInvalidArgument) == RAG_INVALID_ARGUMENT);
static_assert(static_cast<int>(StatusCode::kNotFound) == RAG_NOT_FOUND);
static_assert(static_cast<int>(StatusCode::kAlreadyExists) == RAG_ALREADY_EXISTS);
static_assert(static_cast<int>(StatusCode::kFailedPrecondition) == RAG_FAILED_PRECONDITION);
static_assert(static_cast<int>(StatusCode::kOutOfRange) == RAG_OUT_OF_RANGE);
static_assert(static_cast<int>(StatusCode::kResourceExhausted) == RAG_RESOURCE_EXHAUSTED);
static_assert(static_cast<int>(StatusCode::kUnavailable) == RAG_UNAVAILABLE);
static_assert(static_cast<int>(StatusCode::kDeadlineExceeded) == RAG_DEADLINE_EXCEEDED);
static_assert(static_cast<int>(StatusCode::kCancelled) == RAG_CANCELLED);
static_assert(static_cast<int>(StatusCode::kDataLoss) == RAG_DATA_LOSS);
static_assert(static_cast<int>(StatusCode::kUnimplemented) == RAG_UNIMPLEMENTED);
static_assert(static_cast<int>(StatusCode::kIoError) == RAG_IO_ERROR);
static_assert(static_cast<int>(StatusCode::kPermissionDenied) == RAG_PERMISSION_DENIED);
static_assert(static_cast<int>(StatusCode::kInternal) == RAG_INTERNAL);

// A struct of the first version; a caller built against a later one may pass a larger one.
constexpr size_t kOptionsSizeV1 = sizeof(rag_options);
constexpr size_t kMaxOptionsSize = 4096;

// The text in memory that rag_free frees.
Status HandOut(const rag::Value& value, char** out) {
  const std::string json = rag::ToJson(value);
  char* copy = static_cast<char*>(std::malloc(json.size() + 1));
  if (copy == nullptr) throw std::bad_alloc();
  std::memcpy(copy, json.c_str(), json.size() + 1);
  *out = copy;
  return rag::OkStatus();
}

Status ReadOptions(const rag_options* options, rag::EngineOptions& engine,
                   rag::RuntimeOptions& runtime) {
  if (options == nullptr) return rag::OkStatus();
  if (options->struct_size < kOptionsSizeV1 || options->struct_size > kMaxOptionsSize) {
    return InvalidArgumentError("rag_options.struct_size is ", options->struct_size,
                                "; set it to sizeof(rag_options), ", kOptionsSizeV1);
  }
  // What a later version added must be unset: this library does not know it.
  const auto* bytes = reinterpret_cast<const unsigned char*>(options);
  for (size_t i = kOptionsSizeV1; i < options->struct_size; ++i) {
    if (bytes[i] != 0) {
      return rag::UnimplementedError("rag_options has a field that this library (ABI ",
                                     RAG_ABI_VERSION, ") does not know");
    }
  }
  if (options->threads < 0) {
    return InvalidArgumentError("rag_options.threads is ", options->threads);
  }
  engine.models_folder = OrEmpty(options->models_folder);
  if (options->encoder != nullptr) engine.encoder = options->encoder;
  engine.llm = OrEmpty(options->llm);
  runtime.threads = options->threads;
  return rag::OkStatus();
}

}  // namespace

extern "C" {

rag_code rag_open(const char* db_path, const rag_options* options, rag_engine** out) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(out, "out"));
    *out = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(db_path, "db_path"));
    rag::EngineOptions engine_options;
    rag::RuntimeOptions runtime_options;
    RAG_RETURN_IF_ERROR(ReadOptions(options, engine_options, runtime_options));
    engine_options.db_path = db_path;
    auto handle = std::make_unique<rag_engine>();
    RAG_ASSIGN_OR_RETURN(handle->runtime, rag::Runtime::Create(runtime_options));
    RAG_ASSIGN_OR_RETURN(handle->engine, rag::Engine::Open(engine_options, *handle->runtime));
    *out = handle.release();
    return rag::OkStatus();
  });
}

rag_code rag_close(rag_engine* engine) {
  return Guard([&]() -> Status {
    const std::unique_ptr<rag_engine> handle(engine);
    return handle != nullptr ? handle->engine->Close() : rag::OkStatus();
  });
}

rag_code rag_add(rag_engine* engine, const char* collection, const char* key, const char* text,
                 const char* title, const char* metadata_json) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(collection, "collection"));
    RAG_RETURN_IF_ERROR(NeedArgument(key, "key"));
    RAG_RETURN_IF_ERROR(NeedArgument(text, "text"));
    rag::Document document;
    document.key = key;
    document.text = text;
    document.title = OrEmpty(title);
    document.media_type = "text/plain";
    document.metadata = rag::Value::Object();
    if (metadata_json != nullptr) {
      auto metadata = rag::ParseJson(metadata_json);
      if (!metadata.ok()) return std::move(metadata).status().WithContext("metadata_json");
      if (!metadata->is_object()) {
        return InvalidArgumentError("metadata_json must be an object, not ", metadata->type_name());
      }
      document.metadata = std::move(metadata).value();
    }
    return engine->engine->AddDocument(collection, std::move(document)).status();
  });
}

rag_code rag_index(rag_engine* engine, const char* collection, const char* path,
                   char** report_json) {
  return Guard([&]() -> Status {
    if (report_json != nullptr) *report_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(collection, "collection"));
    RAG_RETURN_IF_ERROR(NeedArgument(path, "path"));
    const std::string paths[] = {path};
    RAG_ASSIGN_OR_RETURN(const rag::IngestReport report,
                         engine->engine->Ingest(collection, paths, {}));
    return report_json != nullptr ? HandOut(rag::ToValue(report), report_json) : rag::OkStatus();
  });
}

rag_code rag_remove(rag_engine* engine, const char* collection, const char* key) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(collection, "collection"));
    RAG_RETURN_IF_ERROR(NeedArgument(key, "key"));
    return engine->engine->RemoveDocument(collection, key);
  });
}

rag_code rag_search(rag_engine* engine, const char* collection, const char* query, size_t k,
                    const char* mode, const char* filter, char** hits_json) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(hits_json, "hits_json"));
    *hits_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(collection, "collection"));
    RAG_RETURN_IF_ERROR(NeedArgument(query, "query"));
    rag::SearchRequest request;
    request.query = query;
    request.k = k;
    if (mode != nullptr) {
      RAG_ASSIGN_OR_RETURN(request.mode, rag::ParseSearchMode(mode));
    }
    request.filter = OrEmpty(filter);
    RAG_ASSIGN_OR_RETURN(const rag::SearchResponse response,
                         engine->engine->Search(collection, request));
    return HandOut(rag::ToValue(response), hits_json);
  });
}

rag_code rag_ask(rag_engine* engine, const char* collection, const char* question, size_t k,
                 size_t max_tokens, char** answer_json) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(answer_json, "answer_json"));
    *answer_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(collection, "collection"));
    RAG_RETURN_IF_ERROR(NeedArgument(question, "question"));
    rag::AskRequest request;
    request.search.query = question;
    request.search.k = k;
    request.max_tokens = max_tokens;
    RAG_ASSIGN_OR_RETURN(const rag::Answer answer, engine->engine->Ask(collection, request));
    return HandOut(rag::ToValue(answer), answer_json);
  });
}

rag_code rag_embed(rag_engine* engine, const char* const* texts, size_t count, float* out,
                   size_t out_floats, size_t* dim) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(dim, "dim"));
    *dim = 0;
    if (count > 0) RAG_RETURN_IF_ERROR(NeedArgument(texts, "texts"));
    RAG_ASSIGN_OR_RETURN(const rag::EncoderInfo info, engine->engine->GetEncoderInfo());
    *dim = info.dim;
    if (out == nullptr || count == 0) return rag::OkStatus();
    if (count > out_floats / info.dim) {
      return rag::OutOfRangeError("out has room for ", out_floats, " floats; ", count,
                                  " vectors of ", info.dim, " need more");
    }
    std::vector<std::string_view> views;
    for (size_t i = 0; i < count; ++i) {
      if (texts[i] == nullptr) return InvalidArgumentError("texts[", i, "] is NULL");
      views.emplace_back(texts[i]);
    }
    RAG_ASSIGN_OR_RETURN(const rag::Embeddings embeddings, engine->engine->Embed(views));
    for (size_t i = 0; i < count; ++i) {
      const auto row = embeddings.vectors.row(i);
      std::copy(row.begin(), row.end(), out + i * info.dim);
    }
    return rag::OkStatus();
  });
}

void rag_free(char* text) { std::free(text); }

}  // extern "C"
