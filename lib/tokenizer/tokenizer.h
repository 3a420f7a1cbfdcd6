// Tokenizers: text -> ids of a model's vocabulary, with byte offsets, and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/status.h"

namespace rag {

class GgufFile;
using TokenId = int32_t;

struct EncodeOptions {
  // Adds what the tokenizer's post-processor says ([CLS] … [SEP], <s>).
  bool add_special_tokens = true;
  // Special tokens written in the text ("<|im_end|>", "[SEP]") become their ids. Off for anything
  // that came from a user or a document: then they are ordinary characters.
  bool parse_special_tokens = false;
  // Cut to this many tokens, special ones included; 0: no limit. Encoding::truncated says how many
  // tokens were dropped.
  size_t max_tokens = 0;
};

struct Encoding {
  std::vector<TokenId> ids;
  // Segment of each id: 0, or 1 for the second text of a pair.
  std::vector<uint8_t> type_ids;
  // Byte range of each token in the original text; {0, 0} for tokens that were added.
  struct Range {
    uint32_t begin = 0;
    uint32_t end = 0;
  };
  std::vector<Range> offsets;
  size_t truncated = 0;      // tokens dropped because of max_tokens
  size_t invalid_bytes = 0;  // bytes of broken UTF-8 that were replaced by U+FFFD
};

// Immutable after loading; every method may be called from several threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // A Hugging Face folder (tokenizer.json, else vocab.txt with tokenizer_config.json, else
  // *.model), or one of these files by path. Errors: not_found; invalid_argument for a damaged
  // file; unsupported naming the component of tokenizer.json that is not known.
  static Result<std::unique_ptr<Tokenizer>> Load(const std::string& path);
  // The tokenizer inside a GGUF file (tokenizer.ggml.*: llama, gpt2 and bert models).
  static Result<std::unique_ptr<Tokenizer>> FromGguf(const GgufFile& file);

  virtual Encoding Encode(std::string_view text, const EncodeOptions& options = {}) const = 0;
  // Two texts in one sequence, as the post-processor joins them (for rerankers); truncation takes
  // from the longer one.
  virtual Encoding EncodePair(std::string_view first, std::string_view second,
                              const EncodeOptions& options = {}) const = 0;

  // The text of the ids; ids outside the vocabulary are skipped. Byte-level and byte-fallback
  // pieces may give half a character at the ends.
  virtual std::string Decode(std::span<const TokenId> ids,
                             bool skip_special_tokens = true) const = 0;
  // The bytes that one token adds to the text when it follows another (for streaming).
  virtual std::string TokenBytes(TokenId id) const = 0;

  virtual size_t vocab_size() const = 0;
  // The vocabulary's piece for an id ("##ing", "▁the"); empty when out of range.
  virtual std::string_view Piece(TokenId id) const = 0;
  virtual std::optional<TokenId> FindPiece(std::string_view piece) const = 0;
  virtual bool IsSpecial(TokenId id) const = 0;
  virtual std::optional<TokenId> bos_id() const = 0;
  virtual std::optional<TokenId> eos_id() const = 0;
  virtual std::optional<TokenId> pad_id() const = 0;
  virtual std::optional<TokenId> unk_id() const = 0;
};

}  // namespace rag
