// The C ABI: every call is a call of rag::Engine, with its errors turned into codes. Here the
// engine itself, collections, documents and care; questions.cc has the rest.
#include "bindings/c/rag.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/c/handles.h"
#include "engine/json.h"
#include "index/index_spec.h"

namespace {

using rag::InvalidArgumentError;
using rag::OkStatus;
using rag::Result;
using rag::Status;
using rag::StatusCode;
using rag::Value;
using rag::bindings::CancelOf;
using rag::bindings::CareOf;
using rag::bindings::Guard;
using rag::bindings::HandOut;
using rag::bindings::HandOutIfWanted;
using rag::bindings::NeedArgument;
using rag::bindings::OrDefault;
using rag::bindings::OrEmpty;
using rag::bindings::ReadMetadata;
using rag::bindings::ReadStrings;
using rag::bindings::ReadStruct;

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
static_assert(static_cast<int>(StatusCode::kUnsupported) == RAG_UNSUPPORTED);
static_assert(static_cast<int>(StatusCode::kIoError) == RAG_IO_ERROR);
static_assert(static_cast<int>(StatusCode::kPermissionDenied) == RAG_PERMISSION_DENIED);
static_assert(static_cast<int>(StatusCode::kInternal) == RAG_INTERNAL);

constexpr size_t kMaxAdapters = 64;  // GeneratorOptions::adapters
constexpr size_t kRecallSample = 200;
constexpr size_t kRecallK = 10;

Status ReadDecoderOptions(const rag_options& given, rag::GeneratorOptions& decoder) {
  decoder.context_tokens = given.context_tokens;
  if (given.parallel != 0) decoder.max_sequences = given.parallel;
  if (given.kv_type != nullptr) {
    RAG_ASSIGN_OR_RETURN(decoder.cache_type, rag::ParseKvType(given.kv_type));
  }
  decoder.cache_bytes = given.kv_bytes;
  decoder.cache_path = OrEmpty(given.kv_cache);
  decoder.draft_tokens = given.draft_tokens;
  decoder.draft_model = OrEmpty(given.draft_model);
  decoder.draft_min_probability =
      OrDefault(given.draft_min_probability, decoder.draft_min_probability);
  decoder.mapped_weights = given.mapped_weights != 0;
  if (given.adapter_count == 0) return OkStatus();
  RAG_RETURN_IF_ERROR(NeedArgument(given.adapters, "rag_options.adapters"));
  if (given.adapter_count > kMaxAdapters) {
    return InvalidArgumentError("rag_options.adapter_count is ", given.adapter_count, "; at most ",
                                kMaxAdapters, " are taken");
  }
  for (size_t i = 0; i < given.adapter_count; ++i) {
    const rag_adapter& adapter = given.adapters[i];
    if (adapter.name == nullptr || adapter.path == nullptr) {
      return InvalidArgumentError("rag_options.adapters[", i, "] has no name or no path");
    }
    decoder.adapters.push_back(
        {adapter.name, adapter.path, adapter.scale != 0 ? adapter.scale : 1.0});
  }
  return OkStatus();
}

Status ReadOptions(const rag_options& given, rag::EngineOptions& engine,
                   rag::RuntimeOptions& runtime) {
  if (given.threads < 0) return InvalidArgumentError("rag_options.threads is ", given.threads);
  runtime.threads = given.threads;
  engine.models_folder = OrEmpty(given.models_folder);
  if (given.encoder != nullptr) engine.encoder = given.encoder;
  rag::EncoderOptions& encoding = engine.encoding;
  if (given.precision != nullptr) {
    RAG_ASSIGN_OR_RETURN(encoding.precision, rag::ParsePrecision(given.precision));
  }
  encoding.truncate_dim = given.truncate_dim;
  encoding.prompts[static_cast<size_t>(rag::TextRole::kQuery)] = OrEmpty(given.query_prompt);
  encoding.prompts[static_cast<size_t>(rag::TextRole::kDocument)] = OrEmpty(given.document_prompt);
  engine.sparse = OrEmpty(given.sparse);
  engine.reranker = OrEmpty(given.reranker);
  engine.classifier = OrEmpty(given.classifier);
  engine.reader = OrEmpty(given.reader);
  engine.llm = OrEmpty(given.llm);
  return ReadDecoderOptions(given, engine.decoder);
}

Result<rag::CollectionOptions> ReadCollectionOptions(const rag_collection_options& given) {
  rag::CollectionOptions options;
  options.token_vectors = given.token_vectors != 0;
  if (given.chunk_strategy != nullptr) {
    RAG_ASSIGN_OR_RETURN(options.chunk.strategy, rag::ParseChunkStrategy(given.chunk_strategy));
  }
  if (given.chunk_tokens != 0) options.chunk.chunk_tokens = given.chunk_tokens;
  if (given.chunk_overlap != 0) {
    options.chunk.overlap_tokens = given.chunk_overlap == SIZE_MAX ? 0 : given.chunk_overlap;
  }
  if (given.index == nullptr) return options;
  RAG_ASSIGN_OR_RETURN(options.goal, rag::ParseTuneGoal(given.index));
  if (options.goal.has_value()) return options;
  RAG_ASSIGN_OR_RETURN(options.vectors, rag::ParseIndexSpec(given.index));
  return options;
}

Result<rag::Document> ReadDocument(const rag_document& given) {
  RAG_RETURN_IF_ERROR(NeedArgument(given.key, "rag_document.key"));
  rag::Document document;
  document.key = given.key;
  document.title = OrEmpty(given.title);
  RAG_ASSIGN_OR_RETURN(document.metadata, ReadMetadata(given.metadata_json));
  if (given.text != nullptr) {
    document.text = given.text_bytes != 0 ? std::string(given.text, given.text_bytes) : given.text;
  }
  if (given.image != nullptr) {
    if (given.media_type != nullptr) {
      return InvalidArgumentError("rag_document.media_type is told by the picture itself");
    }
    document.image.assign(static_cast<const char*>(given.image), given.image_bytes);
    return document;
  }
  RAG_RETURN_IF_ERROR(NeedArgument(given.text, "rag_document.text"));
  document.media_type = given.media_type != nullptr ? given.media_type : "text/plain";
  if (document.media_type != "text/plain" && document.media_type != "text/markdown") {
    return InvalidArgumentError("rag_document.media_type '", document.media_type,
                                "' is not text/plain or text/markdown");
  }
  return document;
}

}  // namespace

extern "C" {

rag_code rag_open(const char* db_path, const rag_options* options, rag_engine** out) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(out, "out"));
    *out = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(db_path, "db_path"));
    RAG_ASSIGN_OR_RETURN(
        const rag_options given,
        ReadStruct(options, offsetof(rag_options, draft_min_probability), "rag_options"));
    rag::EngineOptions engine_options;
    rag::RuntimeOptions runtime_options;
    RAG_RETURN_IF_ERROR(ReadOptions(given, engine_options, runtime_options));
    engine_options.db_path = db_path;
    engine_options.store.read_only = given.read_only != 0;
    auto handle = std::make_unique<rag_engine>();
    RAG_ASSIGN_OR_RETURN(handle->runtime, rag::Runtime::Create(runtime_options));
    RAG_ASSIGN_OR_RETURN(handle->engine, rag::Engine::Open(engine_options, *handle->runtime));
    *out = handle.release();
    return OkStatus();
  });
}

rag_code rag_close(rag_engine* engine) {
  return Guard([&]() -> Status {
    const std::unique_ptr<rag_engine> handle(engine);
    return handle != nullptr ? handle->engine->Close() : OkStatus();
  });
}

rag_code rag_check_writes(rag_engine* engine) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    return engine->engine->CheckWrites();
  });
}

rag_code rag_refresh(rag_engine* engine, int* changed) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    if (changed != nullptr) *changed = 0;
    RAG_ASSIGN_OR_RETURN(const bool refreshed, engine->engine->Refresh());
    if (changed != nullptr) *changed = refreshed ? 1 : 0;
    return OkStatus();
  });
}

rag_code rag_models(rag_engine* engine, char** info_json) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(info_json, "info_json"));
    *info_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    const rag::Engine& of = *engine->engine;
    const auto or_null = [](const auto& info) {
      return info.has_value() ? rag::ToValue(*info) : Value();
    };
    Value encoder;
    if (of.options().encoder != "none") {
      RAG_ASSIGN_OR_RETURN(const rag::EncoderInfo info, of.GetEncoderInfo());
      encoder = rag::ToValue(info);
    }
    RAG_ASSIGN_OR_RETURN(const auto sparse, of.GetSparseEncoderInfo());
    RAG_ASSIGN_OR_RETURN(const auto reranker, of.GetRerankerInfo());
    RAG_ASSIGN_OR_RETURN(const auto classifier, of.GetClassifierInfo());
    RAG_ASSIGN_OR_RETURN(const auto llm, of.GetGeneratorInfo());
    HandOut(Value::Object{{"version", RAG_VERSION},
                          {"encoder", std::move(encoder)},
                          {"sparse", or_null(sparse)},
                          {"reranker", or_null(reranker)},
                          {"classifier", or_null(classifier)},
                          {"llm", or_null(llm)}},
            info_json);
    return OkStatus();
  });
}

rag_code rag_create_collection(rag_engine* engine, const char* name,
                               const rag_collection_options* options) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(name, "name"));
    RAG_ASSIGN_OR_RETURN(
        const rag_collection_options given,
        ReadStruct(options, sizeof(rag_collection_options), "rag_collection_options"));
    RAG_ASSIGN_OR_RETURN(const rag::CollectionOptions create, ReadCollectionOptions(given));
    return engine->engine->CreateCollection(name, create);
  });
}

rag_code rag_drop_collection(rag_engine* engine, const char* name) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(name, "name"));
    return engine->engine->DropCollection(name);
  });
}

rag_code rag_collections(rag_engine* engine, const char* name, char** json) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(json, "json"));
    *json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    Value::Array list;
    if (name != nullptr) {
      RAG_ASSIGN_OR_RETURN(const rag::CollectionInfo info, engine->engine->GetCollection(name));
      list.push_back(rag::ToValue(info));
    } else {
      RAG_ASSIGN_OR_RETURN(const auto all, engine->engine->ListCollections());
      for (const rag::CollectionInfo& info : all) list.push_back(rag::ToValue(info));
    }
    HandOut(list, json);
    return OkStatus();
  });
}

rag_code rag_add(rag_engine* engine, const char* collection, const rag_document* document,
                 char** status_json) {
  return Guard([&]() -> Status {
    if (status_json != nullptr) *status_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(collection, "collection"));
    RAG_RETURN_IF_ERROR(NeedArgument(document, "document"));
    RAG_ASSIGN_OR_RETURN(const rag_document given,
                         ReadStruct(document, sizeof(rag_document), "rag_document"));
    RAG_ASSIGN_OR_RETURN(rag::Document read, ReadDocument(given));
    RAG_ASSIGN_OR_RETURN(const rag::DocumentStatus added,
                         engine->engine->AddDocument(collection, std::move(read)));
    HandOutIfWanted(
        Value::Object{
            {"replaced", added.replaced}, {"unchanged", added.unchanged}, {"chunks", added.chunks}},
        status_json);
    return OkStatus();
  });
}

rag_code rag_index(rag_engine* engine, const char* collection, const char* const* paths,
                   size_t path_count, const rag_index_options* options, rag_call* call,
                   char** report_json) {
  return Guard([&]() -> Status {
    if (report_json != nullptr) *report_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(collection, "collection"));
    RAG_ASSIGN_OR_RETURN(const std::vector<std::string> read,
                         ReadStrings(paths, path_count, "paths"));
    if (read.empty()) return InvalidArgumentError("path_count is 0; name at least one path");
    RAG_ASSIGN_OR_RETURN(const rag_index_options given,
                         ReadStruct(options, sizeof(rag_index_options), "rag_index_options"));
    rag::IngestOptions ingest;
    ingest.prune = given.prune != 0;
    ingest.follow_hidden = given.hidden != 0;
    RAG_ASSIGN_OR_RETURN(ingest.metadata, ReadMetadata(given.metadata_json));
    RAG_ASSIGN_OR_RETURN(
        const rag::IngestReport report,
        engine->engine->Ingest(collection, read, ingest, {},
                               call != nullptr ? &call->ingest : nullptr, CancelOf(call)));
    HandOutIfWanted(rag::ToValue(report), report_json);
    return OkStatus();
  });
}

rag_code rag_get(rag_engine* engine, const char* collection, const char* key,
                 char** document_json) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(document_json, "document_json"));
    *document_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(collection, "collection"));
    RAG_RETURN_IF_ERROR(NeedArgument(key, "key"));
    RAG_ASSIGN_OR_RETURN(const rag::StoredDocument document,
                         engine->engine->GetDocument(collection, key));
    HandOut(rag::ToValue(document), document_json);
    return OkStatus();
  });
}

rag_code rag_list(rag_engine* engine, const char* collection, const char* after, size_t limit,
                  char** keys_json) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(keys_json, "keys_json"));
    *keys_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(collection, "collection"));
    RAG_ASSIGN_OR_RETURN(const std::vector<std::string> keys,
                         engine->engine->ListDocuments(collection, OrEmpty(after), limit));
    HandOut(Value::Array(keys.begin(), keys.end()), keys_json);
    return OkStatus();
  });
}

rag_code rag_chunk(rag_engine* engine, const char* collection, uint64_t chunk_id, char** hit_json) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(hit_json, "hit_json"));
    *hit_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(collection, "collection"));
    RAG_ASSIGN_OR_RETURN(const rag::Hit hit, engine->engine->GetChunk(collection, chunk_id));
    HandOut(rag::ToValue(hit), hit_json);
    return OkStatus();
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

rag_code rag_verify(rag_engine* engine, const char* collection, rag_call* call,
                    char** report_json) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(report_json, "report_json"));
    *report_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(collection, "collection"));
    RAG_ASSIGN_OR_RETURN(const rag::VerifyReport report,
                         engine->engine->Verify(collection, CancelOf(call)));
    HandOut(rag::ToValue(report), report_json);
    return OkStatus();
  });
}

rag_code rag_measure_recall(rag_engine* engine, const char* collection, size_t sample, size_t k,
                            rag_call* call, char** report_json) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(report_json, "report_json"));
    *report_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(collection, "collection"));
    RAG_ASSIGN_OR_RETURN(
        const rag::RecallReport report,
        engine->engine->MeasureRecall(collection, sample != 0 ? sample : kRecallSample,
                                      k != 0 ? k : kRecallK, CancelOf(call)));
    HandOut(rag::ToValue(report), report_json);
    return OkStatus();
  });
}

rag_code rag_tune(rag_engine* engine, const char* collection, const rag_tune_options* options,
                  rag_call* call, char** report_json) {
  return Guard([&]() -> Status {
    if (report_json != nullptr) *report_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(collection, "collection"));
    RAG_ASSIGN_OR_RETURN(const rag_tune_options given,
                         ReadStruct(options, sizeof(rag_tune_options), "rag_tune_options"));
    rag::TuneGoal goal;
    if (given.recall != 0) goal.recall = given.recall;
    goal.memory_bytes = given.memory_bytes;
    if (given.k != 0) goal.k = given.k;
    RAG_ASSIGN_OR_RETURN(
        const rag::TuneReport report,
        engine->engine->Tune(collection, goal, given.dry_run == 0, CareOf(call), CancelOf(call)));
    HandOutIfWanted(rag::ToValue(report), report_json);
    return OkStatus();
  });
}

rag_code rag_backup(rag_engine* engine, const char* destination, rag_call* call,
                    char** report_json) {
  return Guard([&]() -> Status {
    if (report_json != nullptr) *report_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(destination, "destination"));
    RAG_ASSIGN_OR_RETURN(const rag::BackupReport report,
                         engine->engine->Backup(destination, CareOf(call), CancelOf(call)));
    HandOutIfWanted(rag::ToValue(report), report_json);
    return OkStatus();
  });
}

rag_code rag_vacuum(rag_engine* engine, rag_call* call, char** report_json) {
  return Guard([&]() -> Status {
    if (report_json != nullptr) *report_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_ASSIGN_OR_RETURN(const rag::VacuumReport report,
                         engine->engine->Vacuum(CareOf(call), CancelOf(call)));
    HandOutIfWanted(rag::ToValue(report), report_json);
    return OkStatus();
  });
}

rag_code rag_save_cache(rag_engine* engine, char** report_json) {
  return Guard([&]() -> Status {
    if (report_json != nullptr) *report_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_ASSIGN_OR_RETURN(const rag::CacheSaveReport report, engine->engine->SaveGeneratorCache());
    HandOutIfWanted(rag::ToValue(report), report_json);
    return OkStatus();
  });
}

rag_code rag_restore(const char* backup, const char* db_path, rag_call* call, char** report_json) {
  return Guard([&]() -> Status {
    if (report_json != nullptr) *report_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(backup, "backup"));
    RAG_RETURN_IF_ERROR(NeedArgument(db_path, "db_path"));
    RAG_ASSIGN_OR_RETURN(const rag::BackupReport report,
                         rag::Engine::Restore(backup, db_path, CareOf(call), CancelOf(call)));
    HandOutIfWanted(rag::ToValue(report), report_json);
    return OkStatus();
  });
}

}  // extern "C"
