// Ingestion: files -> parsed, chunked, embedded and durable documents.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/chunk.h"
#include "engine/parse.h"
#include "index/tune.h"
#include "lib/base/value.h"

namespace rag {

struct IngestOptions {
  ParseOptions parse;
  bool prune = false;          // remove documents whose source lies under a given path and is gone
  bool follow_hidden = false;  // also files and folders whose name begins with a dot
  Value metadata;              // an object laid over every document's own
  std::string stdin_name = "stdin.txt";  // names and types what "-" reads
};

// Polled by another thread to draw progress.
struct IngestProgress {
  std::atomic<uint64_t> files_total{0};  // grows while folders are walked
  std::atomic<uint64_t> files_done{0};
  std::atomic<uint64_t> chunks_done{0};
  std::atomic<uint64_t> bytes_total{0};  // of the files; the measure of what is left
  std::atomic<uint64_t> bytes_done{0};
  std::atomic<bool> walking{true};
};

struct IngestFailure {
  std::string path;  // "file.jsonl:12" for a line of it
  Status error;
};

struct IngestReport {
  uint64_t files = 0;      // looked at
  uint64_t indexed = 0;    // files of which at least one document was written
  uint64_t unchanged = 0;  // files of which all that could be read was stored already
  uint64_t removed = 0;    // documents removed, by prune or because they left their file
  uint64_t documents = 0;  // documents written
  uint64_t chunks = 0;     // chunks written
  uint64_t truncated = 0;  // chunks whose text was longer than the encoder reads
  std::vector<IngestFailure> failed;
  double seconds = 0;
  bool cancelled = false;           // what was acknowledged before is kept; run again to go on
  std::optional<TuneReport> tuned;  // the collection has a goal, and its index was chosen anew
  Status tune_error;                // it could not be; the documents are indexed all the same
};

struct DocumentStatus {
  bool replaced = false;
  bool unchanged = false;
  uint64_t chunks = 0;
};

}  // namespace rag
