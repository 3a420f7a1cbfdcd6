// Document and Chunk: the nouns that travel through the engine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/value.h"

namespace rag {

// A piece of a document's structure. Blocks are in order and do not overlap; text between them is
// white space or markup.
enum class BlockKind : uint8_t { kParagraph, kHeading, kListItem, kTableRow, kCode, kQuote };

struct Block {
  BlockKind kind = BlockKind::kParagraph;
  uint32_t begin = 0;  // bytes in Document::text
  uint32_t end = 0;
  uint32_t page = 0;  // from 1; 0: the format has no pages
  uint8_t level = 0;  // of a heading: 1 .. 6
};

struct Document {
  std::string key;  // unique in a collection: the file's absolute path, a JSONL line's id, or the
                    // caller's
  std::string title;
  std::string source;      // the file it came from, absolute; "" when it came from memory
  std::string media_type;  // "text/markdown"
  // UTF-8, valid. For text, Markdown and source code the file's own bytes (a byte-order mark and
  // broken sequences replaced); for the others the extracted text. Every byte range of the engine
  // is in it.
  std::string text;
  std::vector<Block> blocks;
  // Of a picture: the image file's bytes, which its one chunk's vector is made from; they are not
  // stored. Its text is the file's name, or a caption.
  std::string image;
  Value metadata;  // an object: what the file says of itself, and the caller's; filters look here
};

struct Chunk {
  uint32_t begin = 0;  // bytes in Document::text, on character borders
  uint32_t end = 0;
  uint32_t page = 0;                  // of its first byte
  std::vector<std::string> headings;  // path from the outermost: {"Setup", "Network"}
  uint32_t tokens = 0;                // as the encoder counts them, without special tokens
};

}  // namespace rag
