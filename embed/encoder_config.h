// What an encoder's folder says besides its weights, read and bounded.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "embed/encoder.h"
#include "lib/base/status.h"

namespace rag {

enum class EncoderFamily { kBert, kDistilBert, kRoberta };
enum class Activation { kGelu, kGeluTanh, kRelu, kSilu };

struct EncoderConfig {
  std::string model_type;  // as in config.json
  EncoderFamily family = EncoderFamily::kBert;
  size_t hidden = 0;
  size_t layers = 0;
  size_t heads = 0;
  size_t intermediate = 0;
  size_t vocab = 0;
  size_t positions = 0;   // rows of the position table
  size_t type_vocab = 0;  // rows of the token type table; 0: there is none
  // Row of a text's first token in the position table: RoBERTa's begins after the padding id.
  size_t first_position = 0;
  float layer_norm_epsilon = 1e-12f;
  Activation activation = Activation::kGelu;

  size_t max_tokens = 0;    // special tokens included; at most positions - first_position
  bool lower_case = false;  // lower-case the text before the tokenizer sees it
  Pooling pooling = Pooling::kMean;
  bool normalize = false;
  // By TextRole, written before the text.
  std::array<std::string, kTextRoles> prompts;
  bool pool_prompt = true;  // off: the prompt's tokens are not pooled

  std::string folder;  // of config.json, the tokenizer and the weights
  // For the fingerprint: every file read for this, name and content; of the prompts' file, which
  // also holds versions, the prompts alone.
  std::string source_bytes;
};

// Reads config.json and, where they exist, modules.json, sentence_bert_config.json (and its older
// names), tokenizer_config.json, config_sentence_transformers.json and the pooling folder's
// config.json. Without modules.json the pooling is the mean and nothing is normalized, as
// sentence-transformers does. Prompts are chosen as its encode, encode_query and encode_document
// say they do: the default's; "query"; the first of "document", "passage" and "corpus" that the
// file names (the library, up to 6.2, lets its own empty "document" win over a file's "passage").
// Errors: not_found;
// invalid_argument naming file and field; unimplemented naming what is not known.
Result<EncoderConfig> ReadEncoderConfig(const std::string& folder);

}  // namespace rag
