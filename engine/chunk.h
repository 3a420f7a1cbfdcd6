// Chunkers: a document -> chunks that fit the encoder.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "engine/document.h"
#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag {

class Tokenizer;

enum class ChunkStrategy {
  kFixed,      // windows of chunk_tokens with overlap, cut between tokens
  kSentence,   // whole sentences up to chunk_tokens
  kRecursive,  // blocks, then sentences, then words: the largest units that fit, merged greedily
  kStructure,  // as recursive, but never over a heading; the default
};
std::string_view ChunkStrategyName(ChunkStrategy strategy);  // "fixed", "sentence", …
Result<ChunkStrategy> ParseChunkStrategy(std::string_view name);

struct ChunkOptions {
  ChunkStrategy strategy = ChunkStrategy::kStructure;
  size_t chunk_tokens = 256;   // 8 .. 8,192; the encoder's limit less special tokens also holds
  size_t overlap_tokens = 32;  // < chunk_tokens / 2; not carried over a heading
};
Value ToValue(const ChunkOptions& options);

// Chunks in order. Every byte of text that is not white space or markup is in one chunk at least. A
// unit that alone is longer than chunk_tokens is split, never cut off. Token counts are
// `tokenizer`'s; null counts words (white-space separated, each Hangul, kana or CJK character
// counting as one). Errors: invalid_argument naming the option.
Result<std::vector<Chunk>> ChunkDocument(const Document& document, const ChunkOptions& options,
                                         const Tokenizer* tokenizer);

// Byte ranges of the sentences in text (begin, end), white space trimmed (UAX #29 rules through
// ICU, with the usual abbreviations kept together).
struct TextRange {
  uint32_t begin = 0;
  uint32_t end = 0;
};
std::vector<TextRange> SplitSentences(std::string_view text);

}  // namespace rag
