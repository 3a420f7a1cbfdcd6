// From a document to what the collection stores for it, but for the vectors.
#pragma once

#include <optional>
#include <string>

#include "engine/chunk.h"
#include "engine/document.h"
#include "index/store.h"
#include "lib/base/status.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

// What decides how large a chunk may be. `tokenizer` null: tokens are words and there is no limit.
struct ChunkBudget {
  const Tokenizer* tokenizer = nullptr;
  size_t max_tokens = 0;  // that the encoder reads after its prompt, special tokens included
};

// Chunks the document and packs it; a picture is one chunk. A chunk's indexed text begins with the
// document's title and headings, so chunks are kept small enough for both to fit into what the
// encoder reads. Errors: invalid_argument naming the bound that the document breaks.
Result<DocumentInput> PrepareDocument(const Document& document, const ChunkOptions& options,
                                      const ChunkBudget& budget, std::string content_hash,
                                      std::string source_hash);

}  // namespace rag
