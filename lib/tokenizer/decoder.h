// Decoders: how pieces of the vocabulary become text again (tokenizer.json's "decoder").
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag {

class Decoder {
 public:
  virtual ~Decoder() = default;
  // Changes the pieces in place; their concatenation is the text.
  virtual void Apply(std::vector<std::string>& pieces) const = 0;
  // What one piece becomes when others come before it.
  virtual void ApplyFollowing(std::string& piece) const = 0;
};

std::unique_ptr<Decoder> MakeWordPieceDecoder(std::string prefix, bool cleanup);
std::unique_ptr<Decoder> MakeByteLevelDecoder();
// "▁" becomes a space; at the front of the text it is dropped when `drop_first`.
std::unique_ptr<Decoder> MakeMetaspaceDecoder(std::string replacement, bool drop_first);
// A suffix that ends words becomes a space, and nothing at the end of the text.
std::unique_ptr<Decoder> MakeSuffixDecoder(std::string suffix);
// "<0x0A>" becomes the byte.
std::unique_ptr<Decoder> MakeByteFallbackDecoder();
std::unique_ptr<Decoder> MakeSequenceDecoder(std::vector<std::unique_ptr<Decoder>> parts);

// Null for JSON null. Errors: unsupported naming the type; invalid_argument for a wrong field.
Result<std::unique_ptr<Decoder>> ParseDecoder(const Value& json);

// The byte of a "<0xAB>" piece; -1 for any other piece.
int ParseBytePiece(std::string_view piece);

}  // namespace rag
