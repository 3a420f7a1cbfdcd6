// What must hold of every parsed document and of every chunk.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <cctype>
#include <string>
#include <vector>

#include "engine/chunk.h"
#include "engine/document.h"

namespace rag::test {

inline bool IsUtf8(std::string_view text);

// Text is valid UTF-8; blocks are not empty, in order, apart from each other, on character borders;
// headings have levels 1 to 6; key is set and metadata is an object.
inline void CheckDocument(const Document& document) {
  INFO("document " << document.key);
  bool valid = !document.key.empty() && document.metadata.is_object();
  const std::string& text = document.text;
  uint32_t before = 0;
  std::string problem;
  for (const Block& block : document.blocks) {
    const bool ok = block.begin >= before && block.end > block.begin && block.end <= text.size() &&
                    (text[block.begin] & 0xC0) != 0x80 &&
                    (block.end == text.size() || (text[block.end] & 0xC0) != 0x80) &&
                    (block.kind == BlockKind::kHeading) == (block.level != 0) && block.level <= 6;
    if (!ok) {
      problem = "block at " + std::to_string(block.begin) + " to " + std::to_string(block.end);
      break;
    }
    before = block.end;
  }
  CHECK(problem == "");
  CHECK(valid);
  CHECK(IsUtf8(text));
}

inline bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const size_t length = byte < 0x80   ? 1
                          : byte < 0xC2 ? 0
                          : byte < 0xE0 ? 2
                          : byte < 0xF0 ? 3
                          : byte < 0xF5 ? 4
                                        : 0;
    if (length == 0 || i + length > text.size()) return false;
    for (size_t j = 1; j < length; ++j) {
      if ((static_cast<unsigned char>(text[i + j]) & 0xC0) != 0x80) return false;
    }
    i += length;
  }
  return true;
}

// Chunks are in order, not empty, on character borders, within the budget; every byte of a block
// that is not white space is in one of them.
inline void CheckChunks(const Document& document, const std::vector<Chunk>& chunks,
                        const ChunkOptions& options) {
  INFO("document " << document.key << ", strategy " << ChunkStrategyName(options.strategy));
  const std::string& text = document.text;
  std::vector<bool> covered(text.size(), false);
  std::string problem;
  const Chunk* before = nullptr;
  for (const Chunk& chunk : chunks) {
    const bool ok = chunk.begin < chunk.end && chunk.end <= text.size() &&
                    (text[chunk.begin] & 0xC0) != 0x80 &&
                    (chunk.end == text.size() || (text[chunk.end] & 0xC0) != 0x80) &&
                    chunk.tokens <= options.chunk_tokens &&
                    (before == nullptr || (chunk.begin > before->begin && chunk.end > before->end));
    if (!ok) {
      problem = "chunk at " + std::to_string(chunk.begin) + " to " + std::to_string(chunk.end) +
                " of " + std::to_string(chunk.tokens) + " tokens";
      break;
    }
    std::fill(covered.begin() + chunk.begin, covered.begin() + chunk.end, true);
    before = &chunk;
  }
  for (const Block& block : document.blocks) {
    for (uint32_t i = block.begin; i < block.end && problem.empty(); ++i) {
      if (!covered[i] && !std::isspace(static_cast<unsigned char>(text[i]))) {
        problem = "byte " + std::to_string(i) + " is in no chunk";
      }
    }
  }
  CHECK(problem == "");
}

}  // namespace rag::test
