#include "engine/ingest/prepare.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/record.h"

namespace rag {
namespace {

constexpr size_t kMinChunkTokens = 8;   // ChunkOptions' own bound
constexpr size_t kMaxKeyBytes = 4'096;  // DocumentInput's bounds
constexpr size_t kMaxTextBytes = (size_t{1} << 30) - (size_t{1} << 20);

// The most tokens that stand before any chunk of the document.
size_t PrefixTokens(const Document& document, const Tokenizer& tokenizer) {
  const EncodeOptions plain{.add_special_tokens = false};
  Chunk chunk;  // an empty range: ContextualText gives the prefix alone
  size_t most =
      tokenizer.Encode(ContextualText(document, chunk, kMaxContextBytes), plain).ids.size();
  std::vector<uint8_t> levels;
  for (const Block& block : document.blocks) {
    if (block.kind != BlockKind::kHeading) continue;
    while (!levels.empty() && levels.back() >= block.level) {
      levels.pop_back();
      chunk.headings.pop_back();
    }
    levels.push_back(block.level);
    chunk.headings.push_back(document.text.substr(block.begin, block.end - block.begin));
    most = std::max(
        most,
        tokenizer.Encode(ContextualText(document, chunk, kMaxContextBytes), plain).ids.size());
  }
  return most;
}

ChunkOptions FitToEncoder(const ChunkOptions& options, const ChunkBudget& budget,
                          const Document& document) {
  if (budget.tokenizer == nullptr || budget.max_tokens == 0) return options;
  const size_t special = budget.tokenizer->Encode("").ids.size();
  const size_t taken = special + PrefixTokens(document, *budget.tokenizer);
  const size_t room = budget.max_tokens > taken ? budget.max_tokens - taken : 0;
  ChunkOptions fitted = options;
  // At least half of the window is the passage's, even when its headings are long.
  fitted.chunk_tokens =
      std::min(options.chunk_tokens, std::max({room, budget.max_tokens / 2, kMinChunkTokens}));
  fitted.overlap_tokens = std::min(options.overlap_tokens, (fitted.chunk_tokens - 1) / 2);
  return fitted;
}

}  // namespace

Result<DocumentInput> PrepareDocument(const Document& document, const ChunkOptions& options,
                                      const ChunkBudget& budget, std::string content_hash,
                                      std::string source_hash) {
  if (document.key.empty() || document.key.size() > kMaxKeyBytes) {
    return InvalidArgumentError("a document's key has ", document.key.size(), " bytes, not 1 to ",
                                kMaxKeyBytes);
  }
  if (document.text.size() > kMaxTextBytes) {
    return InvalidArgumentError("the text of '", document.key, "' has ", document.text.size(),
                                " bytes, over the limit of ", kMaxTextBytes);
  }
  std::vector<Chunk> chunks;
  if (document.image.empty()) {
    RAG_ASSIGN_OR_RETURN(
        chunks, ChunkDocument(document, FitToEncoder(options, budget, document), budget.tokenizer));
  } else {
    chunks = {Chunk{.begin = 0, .end = static_cast<uint32_t>(document.text.size())}};
  }
  DocumentInput input =
      PackDocumentInput(document, std::move(content_hash), std::move(source_hash));
  input.chunks.reserve(chunks.size());
  for (const Chunk& chunk : chunks) {
    ChunkInput packed = PackChunkInput(document, chunk);
    packed.lexical_text = ContextualText(document, chunk, kMaxContextBytes);
    input.chunks.push_back(std::move(packed));
  }
  return input;
}

}  // namespace rag
