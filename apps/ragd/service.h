// The endpoints: each file of handlers adds its routes over one Service.
#pragma once

#include <cstdint>
#include <string>

#include "apps/common/config.h"
#include "apps/common/log.h"
#include "apps/ragd/fields.h"
#include "apps/ragd/metrics.h"
#include "apps/ragd/router.h"
#include "engine/engine.h"

namespace rag {

// What handlers stand on; outlives the router. Immutable but for the engine and the metrics, which
// are thread-safe.
struct Service {
  Engine& engine;
  Metrics& metrics;
  AppLog& log;
  Settings settings;
  CollectionOptions create;  // of collections made by a first document
  std::string encoder_name;  // as /v1/models names it; "" without an encoder
  size_t encoder_dim = 0;
  std::string reranker_name;          // "" without a reranker
  std::string sparse_name;            // "" without a sparse encoder
  std::string classifier_name;        // "" without a classifier of texts
  ClassifierInfo classifier;          // what it is then
  std::string reader_name;            // "" without a reader
  std::string decoder_name;           // "" without a decoder
  std::vector<AdapterInfo> adapters;  // of the decoder
  int64_t started_at = 0;             // Unix seconds
  bool has_key = false;               // requests bear a key

  // Of a search for k passages.
  SearchDefaults search_defaults(size_t k) const {
    return {k, settings.search.mode, reranker_name.empty() ? 0 : settings.search.rerank_top};
  }
};

// The model that answers by quoting when there is no decoder.
inline constexpr std::string_view kExtractiveModel = "extractive";

void AddSystemRoutes(const Service& service, std::function<size_t()> queue_length,
                     Router& router);  // /, /healthz, /metrics, /v1/models
void AddEmbeddingRoutes(const Service& service, Router& router);   // /v1/embeddings
void AddClassifyRoutes(const Service& service, Router& router);    // /v1/classify
void AddChatRoutes(const Service& service, Router& router);        // /v1/chat/completions
void AddDocumentRoutes(const Service& service, Router& router);    // /v1/documents
void AddCollectionRoutes(const Service& service, Router& router);  // /v1/collections
void AddRerankRoutes(const Service& service, Router& router);      // /v1/rerank
void AddQuestionRoutes(const Service& service, Router& router);    // /v1/search, /v1/ask
void AddAdminRoutes(const Service& service, Router& router);       // /v1/admin/…

}  // namespace rag
