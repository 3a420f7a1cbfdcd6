// What an encoder's folder says besides its weights, read and bounded.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "embed/encoder.h"
#include "embed/image_processor.h"
#include "embed/modules.h"
#include "embed/transformer_config.h"
#include "lib/base/status.h"

namespace rag {

struct TextLimits {
  size_t max_tokens = 0;    // special tokens included; at most TransformerConfig::max_sequence
  bool lower_case = false;  // lower-case the text before the tokenizer sees it
  // Shorter texts are filled up to max_tokens, and the filling is seen (SigLIP), with the
  // tokenizer's padding or, where it names none, this.
  bool pad = false;
  TokenId padding_id = 0;
  // The token that must end every text, since the vector is read from it (CLIP).
  std::optional<TokenId> end_id;
};

// The network beside the text's that reads pictures.
struct ImageTowerConfig {
  TransformerConfig model;
  ImageProcessorConfig processor;
  // Each label is right or wrong by itself, instead of one of them being right.
  bool sigmoid() const { return model.family == EncoderFamily::kSiglipVision; }
};

struct EncoderConfig {
  TransformerConfig model;  // the texts'
  std::optional<ImageTowerConfig> images;
  TextLimits limits;
  PoolingConfig pooling;
  std::vector<VectorStep> steps;  // behind the pooling
  size_t full_dim = 0;            // behind the steps
  size_t dim = 0;                 // of the vectors: full_dim, or what it is truncated to
  Similarity similarity = Similarity::kCosine;
  // By TextRole, written before the text.
  std::array<std::string, kTextRoles> prompts;

  std::string folder;  // of config.json, the tokenizer and the weights
  // For the fingerprint: every file read for this, name and content; of the prompts' file, which
  // also holds versions, the prompts alone.
  std::string source_bytes;

  bool normalizes() const {
    return !steps.empty() && steps.back().kind == VectorStep::Kind::kNormalize;
  }
};

// What sentence-transformers' file says of a text, else the tokenizer's and the network's limits.
// `in_chat`: texts are put into a chat template; for others a file that wants that is refused.
Result<TextLimits> ReadTextLimits(const std::string& folder, size_t max_sequence,
                                  std::string& source_bytes, bool in_chat = false);

// Reads config.json (or open_clip_config.json) and, where they exist (of a model that also encodes
// images the preprocessor's must), modules.json, sentence_bert_config.json (and its older names),
// tokenizer_config.json, config_sentence_transformers.json and the modules' config.json. Without
// modules.json the pooling is the mean, whatever 1_Pooling says, and nothing is normalized, as
// sentence-transformers does.
// Prompts are chosen as its encode, encode_query and encode_document say they do: the default's;
// "query"; the first of "document", "passage" and "corpus" that the file names (the library, up
// to 6.3, lets its own empty "document" win over a file's "passage"). Errors: not_found;
// invalid_argument naming file and field; unsupported naming what is not known.
Result<EncoderConfig> ReadEncoderConfig(const std::string& folder, const EncoderOptions& options);

}  // namespace rag
