// From chunks to their vectors: passages by their texts, pictures by their pixels; and to sparse
// vectors, all by their texts.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "embed/encoder.h"
#include "embed/late_interaction.h"
#include "embed/sparse_encoder.h"
#include "engine/ingest.h"
#include "index/store.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"

namespace rag {

// A document without its vectors.
struct UnencodedDocument {
  DocumentInput input;
  std::string image;  // a picture's file, whose vector is its one chunk's; "": its chunks are texts
};

// What a collection's chunks are encoded with; borrowed.
struct IngestModels {
  const Encoder* encoder = nullptr;         // null: the collection has no vectors
  const SparseEncoder* sparse = nullptr;    // null: it has no sparse vectors
  const LateInteraction* tokens = nullptr;  // null: it keeps no token vectors
};

struct EncodeReport {
  uint64_t truncated = 0;  // chunks that a model had to cut
  // Documents whose picture could not be decoded, or whose text a model refused, by their number,
  // ascending; they have no vectors.
  std::vector<std::pair<size_t, Status>> refused;
};

// Fills in the vectors. Where one document has a picture, the encoder encodes images. progress and
// cancel may be null. Errors: those of the encoders, but for invalid_argument of texts.
Result<EncodeReport> EncodeDocuments(std::span<UnencodedDocument> documents,
                                     const IngestModels& models, ThreadPool& pool,
                                     IngestProgress* progress, const CancelToken* cancel);

}  // namespace rag
