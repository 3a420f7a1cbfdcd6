// What the files beside a tokenizer's own say: tokenizer_config.json, special_tokens_map.json,
// added_tokens.json and, of config.json, the model's type, read as transformers 5 reads them
// (tokenization_utils_base.py, tokenization_auto.py).
#pragma once

#include <string>
#include <string_view>

#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag {

// The classes of transformers that take no more than the vocabulary from a tokenizer's files and
// make the rest of their own settings; kNone: any other, which takes tokenizer.json as it is.
enum class TokenizerClass { kNone, kBert, kMpnet, kRoberta, kGpt2, kClip };

// Every field may be absent.
struct TokenizerConfig {
  Value json = Value::Object();
  Value special_tokens = Value::Object();
  Value added_tokens = Value::Object();  // added_tokens.json: content -> id
  TokenizerClass own_class = TokenizerClass::kNone;
  // Whether a file names the class, and it does not follow from the model's type alone.
  bool names_class = false;
  // The class's name, without "Fast" at its end: a file's, else the model's type's; empty: none.
  std::string class_name;

  // Reads a folder's files; absent ones are fine. Errors: invalid_argument naming file and key.
  static Result<TokenizerConfig> Read(const std::string& folder);
  // "bos_token" and its like: a string, or an object with "content"; empty when absent.
  std::string Token(std::string_view key) const;
  // The same, else what the class takes where no file names one.
  std::string TokenOrUsual(std::string_view key) const;
  // Whether special_tokens_map.json and added_tokens.json count: not beside an
  // "added_tokens_decoder", which replaced them.
  bool CountsOldFiles() const;
  // The one of the two that tells tokens beside the tokenizer's own, for messages.
  std::string_view ConfiguredTokensName() const {
    return CountsOldFiles() ? "added_tokens.json" : "added_tokens_decoder";
  }
  // Whether a file names this one among the special tokens.
  bool NamesSpecial(std::string_view content) const;
  // "truncation_side", which says from where long texts are read; `fallback` when it says nothing.
  Result<bool> TruncateLeft(bool fallback) const;
};

}  // namespace rag
