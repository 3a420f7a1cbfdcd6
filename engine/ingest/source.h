// Where ingestion takes its documents from.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/document.h"
#include "engine/ingest.h"
#include "engine/ingest/manifest.h"
#include "index/store.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace rag {

// One file, read and parsed.
struct SourceFile {
  std::string path;
  uint64_t bytes = 0;
  Status error;            // not ok: the file gave nothing, the rest is unset
  bool unchanged = false;  // nothing to do
  // The content is known, but documents may be missing: those that are not stored are wanted alone.
  bool only_missing = false;
  // Of its bytes, and of the metadata that the caller lays over its documents.
  std::string content_hash;
  bool many = false;    // may hold any number of documents; false: exactly one
  bool tracked = true;  // remember it as complete, remove the documents that left it
  std::vector<Document> documents;
  std::vector<Status> problems;
};

class DocumentSource {
 public:
  virtual ~DocumentSource() = default;
  // The next file in order; nullopt at the end and after a cancel. Called by one thread.
  virtual std::optional<SourceFile> Next() = 0;
};

// Reads and parses `files` (WalkPaths) on `threads` threads, a bounded number of files and bytes
// ahead of the caller. Files whose content is in the collection already come back as unchanged,
// unparsed. Everything passed by reference outlives the source.
std::unique_ptr<DocumentSource> ReadFiles(std::vector<std::string> files,
                                          const IngestOptions& options,
                                          const Collection& collection, const Manifest& manifest,
                                          int threads, const CancelToken* cancel);

}  // namespace rag
