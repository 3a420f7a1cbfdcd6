// Readers of BEIR's layout (Thakur et al. 2021): corpus.jsonl {"_id","title","text",…},
// queries.jsonl {"_id","text"}, qrels/test.tsv or qrels.tsv (query-id, corpus-id, score; a header
// line is passed over).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "engine/evaluate/metrics.h"
#include "engine/ingest/source.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace rag {

struct BeirQuery {
  std::string id;
  std::string text;
  Judgements judgements;
};

// The judged queries, in the order of queries.jsonl. Errors: not_found; invalid_argument naming
// file and line, also for a judgement of a query that is not there.
Result<std::vector<BeirQuery>> ReadBeirQueries(const std::string& folder);

// The corpus as a source of ingestion: no file is remembered as complete, documents are known by
// their own content. Ids that were read are put into *keys. A damaged line ends it: see error().
class BeirCorpus : public DocumentSource {
 public:
  // Errors: not_found, io_error.
  static Result<std::unique_ptr<BeirCorpus>> Open(const std::string& folder,
                                                  std::unordered_set<std::string>* keys,
                                                  const CancelToken* cancel);
  virtual Status error() const = 0;
  virtual uint64_t bytes() const = 0;  // of the file
};

}  // namespace rag
