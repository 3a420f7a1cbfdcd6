// The pipeline of ingestion: parsed files -> chunks -> vectors -> durable documents.
//
//   source threads        prepare thread         calling thread      write thread
//   read, hash, parse  -> skip known, chunk   -> encode           -> ReplaceMany, one sync a batch
//
// Between the stages stand queues of few batches, so memory is bounded by the batches and by the
// largest file. A file counts as done only after all its documents are durable: a run that is
// cancelled or killed is continued by running it again.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/chunk.h"
#include "engine/ingest.h"
#include "engine/ingest/encode.h"
#include "engine/ingest/manifest.h"
#include "engine/ingest/source.h"
#include "index/store.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"

namespace rag {

struct PipelineContext {
  Collection& collection;
  Manifest& manifest;
  IngestModels models;
  ChunkOptions chunk;
  ThreadPool& pool;  // decodes pictures
};

// Takes in everything the source has and adds to `report`. Errors are those that end the run (the
// store refuses writes, the encoder fails); what is wrong with one file or document goes to
// report.failed. progress and cancel may be null. Documents that are removed because they left a
// file of several may stand in another one: the manifest doubts the others then.
Status RunPipeline(DocumentSource& source, const PipelineContext& context, IngestReport& report,
                   IngestProgress* progress, const CancelToken* cancel);

// Documents by the same steps, some hundred chunks at a time, each of these durable before the
// next: how each went. Where a key stands twice the later document replaces the earlier one. Once
// `cancel` (may be null) is cancelled, the batch under way is the last.
std::vector<Result<DocumentStatus>> WriteDocuments(std::span<const Document> documents,
                                                   const PipelineContext& context,
                                                   const CancelToken* cancel);

struct PruneReport {
  uint64_t removed = 0;              // documents
  std::vector<std::string> sources;  // files that are gone and had some
};
// Removes the documents whose source is one of `paths` or lies under one and is not there any more;
// the manifest doubts the others as above.
Result<PruneReport> PruneVanished(std::span<const std::string> paths, Collection& collection,
                                  Manifest& manifest, const CancelToken* cancel);

// Whether `path` is `folder` or lies under it; both absolute.
bool IsUnder(std::string_view path, std::string_view folder);

}  // namespace rag
